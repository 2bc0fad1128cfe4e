//! The failures of the services, with the details that Google's APIs attach to them.

use prost::Message;
use tonic::{Code, Status};

use super::proto::google::rpc;

/// `INVALID_ARGUMENT` with a `BadRequest` that names the field.
pub(super) fn invalid(field: &str, description: &str) -> Status {
    let violation = rpc::bad_request::FieldViolation {
        field: field.to_owned(),
        description: description.to_owned(),
        ..rpc::bad_request::FieldViolation::default()
    };
    let detail = rpc::BadRequest { field_violations: vec![violation] };
    status(Code::InvalidArgument, format!("{field}: {description}"), "google.rpc.BadRequest", &detail)
}

/// `NOT_FOUND` with a `ResourceInfo` that names a resource of the library.
pub(super) fn not_found(kind: &str, name: &str) -> Status {
    not_found_in("library.v1", kind, name)
}

/// `NOT_FOUND` with a `ResourceInfo` that names a resource of any service.
pub(super) fn not_found_in(package: &str, kind: &str, name: &str) -> Status {
    let message = format!("{kind} {name:?} does not exist");
    status(Code::NotFound, message, RESOURCE_INFO, &resource(package, kind, name))
}

/// `ALREADY_EXISTS` with a `ResourceInfo` that names the resource.
pub(super) fn already_exists(kind: &str, name: &str) -> Status {
    status(
        Code::AlreadyExists,
        format!("{kind} {name:?} exists"),
        RESOURCE_INFO,
        &resource("library.v1", kind, name),
    )
}

/// `FAILED_PRECONDITION` with a `PreconditionFailure`.
pub(super) fn not_empty(name: &str) -> Status {
    let violation = rpc::precondition_failure::Violation {
        r#type: "NOT_EMPTY".to_owned(),
        subject: name.to_owned(),
        description: "there are books on the shelf".to_owned(),
    };
    let detail = rpc::PreconditionFailure { violations: vec![violation] };
    let message = format!("shelf {name:?} is not empty: delete it with force");
    status(Code::FailedPrecondition, message, "google.rpc.PreconditionFailure", &detail)
}

const RESOURCE_INFO: &str = "google.rpc.ResourceInfo";

fn resource(package: &str, kind: &str, name: &str) -> rpc::ResourceInfo {
    rpc::ResourceInfo {
        resource_type: format!("{package}.{kind}"),
        resource_name: name.to_owned(),
        ..rpc::ResourceInfo::default()
    }
}

/// A status whose details go over the wire as `grpc-status-details-bin`.
fn status(code: Code, message: String, detail_type: &str, detail: &impl Message) -> Status {
    let detail = prost_types::Any {
        type_url: format!("type.googleapis.com/{detail_type}"),
        value: detail.encode_to_vec(),
    };
    let whole = rpc::Status { code: code as i32, message: message.clone(), details: vec![detail] };
    Status::with_details(code, message, whole.encode_to_vec().into())
}
