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
        let writer = self
            .find(&display_name)
            .ok_or_else(|| fault::not_found_in("writers.v1", "Writer", &display_name))?;
        masked(writer, &read_mask.unwrap_or_default().paths).map(Response::new)
    }

    async fn batch_get_writers(
        &self,
        request: Request<BatchGetWritersRequest>,
    ) -> Result<Response<BatchGetWritersResponse>, Status> {
        let BatchGetWritersRequest { display_names, read_mask } = request.into_inner();
        let paths = read_mask.unwrap_or_default().paths;
        let known = display_names.iter().filter_map(|name| self.find(name));
        let writers = known.map(|writer| masked(writer, &paths)).collect::<Result<_, _>>()?;
        Ok(Response::new(BatchGetWritersResponse { writers }))
    }
}

/// What a read mask leaves of a writer (AIP-157: no mask, or `*`, is every field).
fn masked(writer: &Writer, paths: &[String]) -> Result<Writer, Status> {
    if paths.is_empty() || paths.iter().any(|path| path == "*") {
        return Ok(writer.clone());
    }
    let mut masked = Writer::default();
    for path in paths {
        match path.as_str() {
            "display_name" => masked.display_name.clone_from(&writer.display_name),
            "country" => masked.country.clone_from(&writer.country),
            "birth_year" => masked.birth_year = writer.birth_year,
            "death_year" => masked.death_year = writer.death_year,
            "biography" => masked.biography.clone_from(&writer.biography),
            _ => return Err(fault::invalid("read_mask", &format!("{path:?} is no field of a writer"))),
        }
    }
    Ok(masked)
}
