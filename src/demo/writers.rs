//! The service of those who write: a few people, by the names that stand on their books.

use tonic::{Request, Response, Status};

use super::fault;
use super::proto::writers::v1::writer_service_server::{WriterService, WriterServiceServer};
use super::proto::writers::v1::{BatchGetWritersRequest, BatchGetWritersResponse, GetWriterRequest, Writer};

/// The writers of the books that a new library has, but for one who is not known.
#[derive(Clone, Debug)]
pub struct Writers {
    known: Vec<Writer>,
}

impl Default for Writers {
    fn default() -> Self {
        let writer = |display_name: &str, country: &str, birth_year, death_year, biography: &str| Writer {
            display_name: display_name.to_owned(),
            country: country.to_owned(),
            birth_year,
            death_year: Some(death_year),
            biography: biography.to_owned(),
        };
        Self {
            known: vec![
                writer(
                    "Jules Verne",
                    "France",
                    1828,
                    1905,
                    "Sent readers around the world and below the sea.",
                ),
                writer(
                    "Mary Shelley",
                    "England",
                    1797,
                    1851,
                    "Began a whole kind of story in one rainy summer.",
                ),
                writer("Charles Darwin", "England", 1809, 1882, "Went round the world on the Beagle."),
                writer("Michael Faraday", "England", 1791, 1867, "Gave lectures to the young at Christmas."),
            ],
        }
    }
}

impl Writers {
    pub(super) fn server(self) -> WriterServiceServer<Self> {
        WriterServiceServer::new(self)
    }

    fn find(&self, display_name: &str) -> Option<&Writer> {
        self.known.iter().find(|writer| writer.display_name == display_name)
    }
}

#[tonic::async_trait]
impl WriterService for Writers {
    async fn get_writer(&self, request: Request<GetWriterRequest>) -> Result<Response<Writer>, Status> {
        let GetWriterRequest { display_name, read_mask } = request.into_inner();
        let mask = Mask::of(read_mask)?;
        let writer = self.find(&display_name);
        let writer = writer.ok_or_else(|| fault::not_found_in("writers.v1", "Writer", &display_name))?;
        Ok(Response::new(mask.applied(writer)))
    }

    async fn batch_get_writers(
        &self,
        request: Request<BatchGetWritersRequest>,
    ) -> Result<Response<BatchGetWritersResponse>, Status> {
        let BatchGetWritersRequest { display_names, read_mask } = request.into_inner();
        // Whether or not there is anybody to whom it applies.
        let mask = Mask::of(read_mask)?;
        let known = display_names.iter().filter_map(|name| self.find(name));
        Ok(Response::new(BatchGetWritersResponse { writers: known.map(|one| mask.applied(one)).collect() }))
    }
}

/// What a read mask leaves of a writer (AIP-157: no mask, or `*`, is every field).
struct Mask(Vec<fn(&mut Writer, &Writer)>);

impl Mask {
    fn of(mask: Option<prost_types::FieldMask>) -> Result<Self, Status> {
        let paths = mask.unwrap_or_default().paths;
        if paths.is_empty() || paths.iter().any(|path| path == "*") {
            return Ok(Self(vec![|masked, writer| masked.clone_from(writer)]));
        }
        let field = |path: &String| -> Result<fn(&mut Writer, &Writer), Status> {
            Ok(match path.as_str() {
                "display_name" => |masked, writer| masked.display_name.clone_from(&writer.display_name),
                "country" => |masked, writer| masked.country.clone_from(&writer.country),
                "birth_year" => |masked, writer| masked.birth_year = writer.birth_year,
                "death_year" => |masked, writer| masked.death_year = writer.death_year,
                "biography" => |masked, writer| masked.biography.clone_from(&writer.biography),
                _ => return Err(fault::invalid("read_mask", &format!("{path:?} is no field of a writer"))),
            })
        };
        paths.iter().map(field).collect::<Result<_, _>>().map(Self)
    }

    fn applied(&self, writer: &Writer) -> Writer {
        let mut masked = Writer::default();
        for take in &self.0 {
            take(&mut masked, writer);
        }
        masked
    }
}
