//! The service of reviews, which knows of books no more than their names.

use tonic::{Request, Response, Status};

use super::fault;
use super::proto::reviews::v1::review_service_server::{ReviewService, ReviewServiceServer};
use super::proto::reviews::v1::{
    BatchGetSummariesRequest, BatchGetSummariesResponse, GetSummaryRequest, ListReviewsRequest,
    ListReviewsResponse, Review, ReviewSummary,
};

/// Reviews of some of the books that a new library has.
#[derive(Clone, Debug)]
pub struct Reviews {
    all: Vec<Review>,
}

impl Default for Reviews {
    fn default() -> Self {
        let review = |book: &str, reader: &str, stars, text: &str| Review {
            book: book.to_owned(),
            reader: reader.to_owned(),
            stars,
            text: text.to_owned(),
        };
        Self {
            all: vec![
                review("shelves/1/books/1", "Ada", 5, "The engines are the best of it."),
                review("shelves/1/books/1", "Charles", 3, "Too many fish."),
                review("shelves/1/books/2", "Ada", 4, "Nobody asks the creature until it is too late."),
                review("shelves/2/books/1", "Emma", 5, "It took him twenty years to say so."),
            ],
        }
    }
}

impl Reviews {
    pub(super) fn server(self) -> ReviewServiceServer<Self> {
        ReviewServiceServer::new(self)
    }

    fn of(&self, book: &str) -> Vec<Review> {
        self.all.iter().filter(|review| review.book == book).cloned().collect()
    }

    /// `None`: nobody has reviewed it.
    fn summary(&self, book: &str) -> Option<ReviewSummary> {
        let reviews = self.of(book);
        let best = reviews.iter().max_by_key(|review| review.stars)?.clone();
        let review_count = i32::try_from(reviews.len()).expect("a few reviews");
        let stars: i32 = reviews.iter().map(|review| review.stars).sum();
        Some(ReviewSummary {
            book: book.to_owned(),
            review_count,
            stars: f64::from(stars) / f64::from(review_count),
            best: Some(best),
        })
    }
}

#[tonic::async_trait]
impl ReviewService for Reviews {
    async fn list_reviews(
        &self,
        request: Request<ListReviewsRequest>,
    ) -> Result<Response<ListReviewsResponse>, Status> {
        Ok(Response::new(ListReviewsResponse { reviews: self.of(&request.get_ref().book) }))
    }

    async fn get_summary(
        &self,
        request: Request<GetSummaryRequest>,
    ) -> Result<Response<ReviewSummary>, Status> {
        let book = &request.get_ref().book;
        self.summary(book)
            .map(Response::new)
            .ok_or_else(|| fault::not_found_in("reviews.v1", "ReviewSummary", book))
    }

    async fn batch_get_summaries(
        &self,
        request: Request<BatchGetSummariesRequest>,
    ) -> Result<Response<BatchGetSummariesResponse>, Status> {
        let summaries = request.get_ref().books.iter().filter_map(|book| self.summary(book)).collect();
        Ok(Response::new(BatchGetSummariesResponse { summaries }))
    }
}
