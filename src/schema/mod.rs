//! What exists: descriptor bytes become a [`Schema`], the type system every other room reads.
//!
//! ```text
//! bytes → load (all problems at once) → lower editions → prost-reflect pool → Schema → MessagePlan (lazily)
//! ```
//!
//! Imports no other room. prost-reflect stays the authority on descriptors (names, options, comments);
//! a [`MessagePlan`] is the compiled form of one message type, made on its first use,
//! and is all that the codec ever looks at.

mod behavior;
mod built_in;
mod check;
pub mod comments;
mod editions;
mod error;
mod features;
mod imports;
pub mod key;
mod kind;
mod load;
mod originals;
pub mod plan;
mod pool;
mod raw;
mod read;
mod symbols;

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, EnumDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor};

pub use behavior::Usage;
pub use built_in::built_in;
pub use error::{PROBLEMS_MAX, Problem, SchemaError};
pub use load::{load, load_within};
pub use read::{Input, Limits};

use comments::{Comments, Declaration};
use originals::Originals;
use plan::{EnumId, EnumPlan, MessageId, MessagePlan};

/// The field number of the extension `google.api.http` (google/api/annotations.proto).
const HTTP_RULE_NUMBER: u32 = 72_295_728;

/// The field number of `options` in `FileDescriptorProto`.
const FILE_OPTIONS_NUMBER: u32 = 8;

/// A descriptor pool and the plans compiled from it. Immutable; shared by `Arc` in a snapshot.
#[derive(Debug)]
pub struct Schema {
    pool: DescriptorPool,
    traits: Traits,
    originals: Originals,
    messages: Vec<MessageDescriptor>,
    enums: Vec<EnumDescriptor>,
    message_ids: HashMap<Box<str>, MessageId>,
    enum_ids: HashMap<Box<str>, EnumId>,
    message_plans: Box<[OnceLock<Box<MessagePlan>>]>,
    enum_plans: Box<[OnceLock<Box<EnumPlan>>]>,
}

/// What editions can say and the lowered proto2/proto3 forms cannot: exceptions by full name.
///
/// Lowering fills this; it is empty for a pool of proto2 and proto3 files alone. Where a name is
/// absent, the syntax of the (lowered) file decides.
#[derive(Clone, Debug, Default)]
pub struct Traits {
    /// Fields with implicit presence in a file lowered to proto2.
    pub implicit: HashSet<Box<str>>,
    /// Enums that are open although their (lowered) file is proto2.
    pub open_enums: HashSet<Box<str>>,
    /// String fields whose UTF-8 validation is the reverse of their syntax's.
    pub utf8_flipped: HashSet<Box<str>>,
}

impl Schema {
    /// Indexes a pool. Cheap beside building the pool: no plan is compiled yet.
    pub fn new(pool: DescriptorPool, traits: Traits) -> Self {
        let messages: Vec<_> = pool.all_messages().collect();
        let enums: Vec<_> = pool.all_enums().collect();
        let message_ids =
            messages.iter().zip(0..).map(|(m, id)| (m.full_name().into(), MessageId(id))).collect();
        let enum_ids = enums.iter().zip(0..).map(|(e, id)| (e.full_name().into(), EnumId(id))).collect();
        let message_plans = messages.iter().map(|_| OnceLock::new()).collect();
        let enum_plans = enums.iter().map(|_| OnceLock::new()).collect();
        let originals = Originals::default();
        Self { pool, traits, originals, messages, enums, message_ids, enum_ids, message_plans, enum_plans }
    }

    /// Attaches the files that the pool was built from.
    #[must_use]
    fn with_originals(mut self, originals: Originals) -> Self {
        self.originals = originals;
        self
    }

    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// The serialized `google.api.HttpRule` that a method is annotated with.
    ///
    /// It is read from the option's bytes, so the set need not hold `google/api/annotations.proto`.
    pub fn http_rule(&self, method: &MethodDescriptor) -> Option<Bytes> {
        let rule = originals::submessage(self.method_options(method), HTTP_RULE_NUMBER);
        (!rule.is_empty()).then_some(rule)
    }

    /// What people wrote beside a declaration; nothing in a set that was made without source information.
    pub fn comments(&self, declaration: &impl Declaration) -> Comments {
        self.originals.comments(declaration.file().name(), declaration.path())
    }

    /// Whether a method says, by its `idempotency_level`, that it may run twice.
    pub fn is_idempotent(&self, method: &MethodDescriptor) -> bool {
        matches!(self.idempotency_level(method), Some(1 | 2))
    }

    /// Whether a method says so that it changes nothing.
    pub fn has_no_side_effects(&self, method: &MethodDescriptor) -> bool {
        self.idempotency_level(method) == Some(1)
    }

    /// Whether there is a method of this name: `package.Service.Method`.
    pub fn has_method(&self, full_name: &str) -> bool {
        full_name.rsplit_once('.').is_some_and(|(service, method)| {
            let service = self.pool().get_service_by_name(service);
            service.is_some_and(|service| service.methods().any(|one| one.name() == method))
        })
    }

    fn idempotency_level(&self, method: &MethodDescriptor) -> Option<i32> {
        let options: raw::MethodOptions = raw::known_options(Some(&self.method_options(method)));
        options.idempotency_level
    }

    fn method_options(&self, method: &MethodDescriptor) -> Bytes {
        self.options(method).unwrap_or_else(|| method.options().encode_to_vec().into())
    }

    /// The serialized options of a declaration as they came; `None` for a pool that was not loaded from files.
    pub fn options<D: Declaration>(&self, declaration: &D) -> Option<Bytes> {
        self.originals.options(declaration.file().name(), declaration.path(), D::OPTIONS_NUMBER)
    }

    /// As [`options`](Self::options), those of a file.
    pub fn file_options(&self, file: &FileDescriptor) -> Option<Bytes> {
        self.originals.options(file.name(), &[], FILE_OPTIONS_NUMBER)
    }

    /// The plan of a message type, for who looks at many types once: nothing is kept.
    pub fn passing_plan(&self, id: MessageId) -> MessagePlan {
        MessagePlan::compile(self, id)
    }

    /// As [`passing_plan`](Self::passing_plan), that of an enum type.
    pub fn passing_enumeration(&self, id: EnumId) -> EnumPlan {
        EnumPlan::compile(self, id)
    }

    /// The message type called `full_name` (no leading dot).
    pub fn message_id(&self, full_name: &str) -> Option<MessageId> {
        self.message_ids.get(full_name).copied()
    }

    pub fn enum_id(&self, full_name: &str) -> Option<EnumId> {
        self.enum_ids.get(full_name).copied()
    }

    /// The plan of a message type, compiled on first use.
    #[inline]
    pub fn message(&self, id: MessageId) -> &MessagePlan {
        let slot = &self.message_plans[id.0 as usize];
        match slot.get() {
            Some(plan) => plan,
            None => slot.get_or_init(|| Box::new(MessagePlan::compile(self, id))),
        }
    }

    /// The plan of an enum type, compiled on first use.
    #[inline]
    pub fn enumeration(&self, id: EnumId) -> &EnumPlan {
        let slot = &self.enum_plans[id.0 as usize];
        match slot.get() {
            Some(plan) => plan,
            None => slot.get_or_init(|| Box::new(EnumPlan::compile(self, id))),
        }
    }

    /// The descriptor that a plan was compiled from.
    pub fn descriptor(&self, id: MessageId) -> &MessageDescriptor {
        &self.messages[id.0 as usize]
    }

    pub fn enum_descriptor(&self, id: EnumId) -> &EnumDescriptor {
        &self.enums[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A `FileDescriptorSet` of one compiled proto text and its imports, options preserved.
    pub(super) fn compile(text: &str, imports: bool, source_info: bool) -> Bytes {
        use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};
        struct One(String);
        impl FileResolver for One {
            fn open_file(&self, name: &str) -> Result<File, protox::Error> {
                if name != "t.proto" {
                    return Err(protox::Error::file_not_found(name));
                }
                File::from_source(name, &self.0)
            }
        }
        let mut resolver = ChainFileResolver::new();
        resolver.add(One(text.to_owned()));
        resolver.add(IncludeFileResolver::new(concat!(env!("CARGO_MANIFEST_DIR"), "/proto").into()));
        resolver.add(GoogleFileResolver::new());
        let mut compiler = protox::Compiler::with_file_resolver(resolver);
        compiler
            .include_imports(imports)
            .include_source_info(source_info)
            .open_file("t.proto")
            .expect("the text compiles");
        compiler.encode_file_descriptor_set().into()
    }

    #[test]
    fn http_rule_is_read_with_and_without_the_annotations_file() {
        let text = r#"
            syntax = "proto3";
            package t;
            import "google/api/annotations.proto";
            message M {}
            service S {
              rpc Plain(M) returns (M);
              rpc Get(M) returns (M) { option (google.api.http) = { get: "/v1/m" }; }
            }"#;
        for imports in [true, false] {
            let bytes = compile(text, imports, false);
            let schema = load(&[Input { name: "t".into(), bytes }]).expect("the set is valid");
            let service = schema.pool().get_service_by_name("t.S").expect("t.S");
            let rules: Vec<_> = service.methods().map(|method| schema.http_rule(&method)).collect();
            // HttpRule.get is field 2.
            assert_eq!(rules, [None, Some(Bytes::from_static(b"\x12\x05/v1/m"))], "imports: {imports}");
        }
    }

    #[test]
    fn methods_say_whether_they_may_run_twice() {
        let text = r#"
            syntax = "proto3";
            package t;
            message M {}
            service S {
              rpc Plain(M) returns (M);
              rpc Unknown(M) returns (M) { option idempotency_level = IDEMPOTENCY_UNKNOWN; }
              rpc Read(M) returns (M) { option idempotency_level = NO_SIDE_EFFECTS; }
              rpc Put(M) returns (M) { option idempotency_level = IDEMPOTENT; }
            }"#;
        let bytes = compile(text, true, false);
        let pool = DescriptorPool::decode(bytes.clone()).expect("the set is valid");
        let loaded = load(&[Input { name: "t".into(), bytes }]).expect("the set is valid");
        for schema in [loaded, Schema::new(pool, Traits::default())] {
            let service = schema.pool().get_service_by_name("t.S").expect("t.S");
            let found: Vec<_> = service.methods().map(|method| schema.is_idempotent(&method)).collect();
            assert_eq!(found, [false, false, true, true]);
            let found: Vec<_> = service.methods().map(|method| schema.has_no_side_effects(&method)).collect();
            assert_eq!(found.iter().filter(|found| **found).count(), 1);
        }
    }

    #[test]
    fn http_rule_is_read_from_a_pool_alone() {
        let text = r#"
            syntax = "proto3";
            import "google/api/annotations.proto";
            message M {}
            service S { rpc Get(M) returns (M) { option (google.api.http) = { get: "/m" }; } }"#;
        let pool = DescriptorPool::decode(compile(text, true, false)).expect("the set is valid");
        let schema = Schema::new(pool, Traits::default());
        let method = schema.pool().services().next().and_then(|service| service.methods().next());
        let rule = schema.http_rule(&method.expect("one method"));
        assert_eq!(rule, Some(Bytes::from_static(b"\x12\x02/m")));
    }
}
