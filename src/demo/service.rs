//! The gRPC side of the library: each method unpacks its request and asks the [`Library`].

use std::pin::Pin;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::fault;
use super::library::{Library, watched};
use super::proto::google::api::HttpBody;
use super::proto::library::v1::library_service_server::{LibraryService, LibraryServiceServer};
use super::proto::library::v1::{
    Book, BookEvent, CountBooksRequest, CountBooksResponse, CreateBookRequest, CreateShelfRequest,
    DeleteBookRequest, DeleteShelfRequest, GetBookRequest, GetCoverRequest, GetShelfRequest,
    ListAuthorsRequest, ListAuthorsResponse, ListBooksRequest, ListBooksResponse, ListShelvesRequest,
    ListShelvesResponse, MoveBookRequest, PutCoverRequest, Shelf, UpdateBookRequest, WatchBooksRequest,
    book_event::Kind,
};

/// The gateway's own bound on a message to the backend is what holds, not tonic's smaller one.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

pub(super) fn server(library: Library) -> LibraryServiceServer<Library> {
    LibraryServiceServer::new(library)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

type Reply<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl LibraryService for Library {
    type WatchBooksStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<BookEvent, Status>> + Send>>;

    async fn create_shelf(&self, request: Request<CreateShelfRequest>) -> Reply<Shelf> {
        let CreateShelfRequest { shelf, shelf_id } = request.into_inner();
        let shelf = shelf.ok_or_else(|| fault::invalid("shelf", "is required"))?;
        Self::create_shelf(self, &shelf_id, shelf).map(Response::new)
    }

    async fn get_shelf(&self, request: Request<GetShelfRequest>) -> Reply<Shelf> {
        self.shelf(&request.get_ref().name).map(Response::new)
    }

    async fn list_shelves(&self, request: Request<ListShelvesRequest>) -> Reply<ListShelvesResponse> {
        let ListShelvesRequest { page_size, page_token } = request.into_inner();
        let (shelves, next_page_token) = self.shelves(page_size, &page_token)?;
        Ok(Response::new(ListShelvesResponse { shelves, next_page_token }))
    }

    async fn delete_shelf(&self, request: Request<DeleteShelfRequest>) -> Reply<()> {
        let DeleteShelfRequest { name, force } = request.into_inner();
        Self::delete_shelf(self, &name, force).map(Response::new)
    }

    async fn create_book(&self, request: Request<CreateBookRequest>) -> Reply<Book> {
        let CreateBookRequest { parent, book, book_id } = request.into_inner();
        let book = book.ok_or_else(|| fault::invalid("book", "is required"))?;
        Self::create_book(self, &parent, &book_id, book).map(Response::new)
    }

    async fn get_book(&self, request: Request<GetBookRequest>) -> Reply<Book> {
        self.book(&request.get_ref().name).map(Response::new)
    }

    async fn list_books(&self, request: Request<ListBooksRequest>) -> Reply<ListBooksResponse> {
        let ListBooksRequest { parent, page_size, page_token, filter } = request.into_inner();
        let (books, next_page_token) = self.books(&parent, page_size, &page_token, filter.as_ref())?;
        Ok(Response::new(ListBooksResponse { books, next_page_token }))
    }

    async fn update_book(&self, request: Request<UpdateBookRequest>) -> Reply<Book> {
        let UpdateBookRequest { book, update_mask } = request.into_inner();
        let book = book.ok_or_else(|| fault::invalid("book", "is required"))?;
        Self::update_book(self, book, &update_mask.unwrap_or_default().paths).map(Response::new)
    }

    async fn delete_book(&self, request: Request<DeleteBookRequest>) -> Reply<()> {
        Self::delete_book(self, &request.get_ref().name).map(Response::new)
    }

    async fn move_book(&self, request: Request<MoveBookRequest>) -> Reply<Book> {
        let MoveBookRequest { name, destination } = request.into_inner();
        Self::move_book(self, &name, &destination).map(Response::new)
    }

    async fn watch_books(&self, request: Request<WatchBooksRequest>) -> Reply<Self::WatchBooksStream> {
        let request = request.into_inner();
        let (sender, receiver) = mpsc::channel(1);
        let watched = self.watch(&request.parent)?;
        tokio::spawn(send_events(watched, request, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn list_authors(&self, _: Request<ListAuthorsRequest>) -> Reply<ListAuthorsResponse> {
        Ok(Response::new(ListAuthorsResponse { authors: self.authors() }))
    }

    async fn get_cover(&self, request: Request<GetCoverRequest>) -> Reply<HttpBody> {
        self.cover(&request.get_ref().name).map(Response::new)
    }

    async fn put_cover(&self, request: Request<PutCoverRequest>) -> Reply<()> {
        let PutCoverRequest { name, cover } = request.into_inner();
        let cover = cover.ok_or_else(|| fault::invalid("cover", "is required"))?;
        Self::put_cover(self, &name, cover).map(Response::new)
    }

    async fn count_books(&self, _: Request<CountBooksRequest>) -> Reply<CountBooksResponse> {
        let count = |count| i64::try_from(count).expect("a library in memory is countable");
        let (shelves, books) = self.counts();
        Ok(Response::new(CountBooksResponse { shelves: count(shelves), books: count(books) }))
    }
}

type Watched = (Vec<Book>, broadcast::Receiver<BookEvent>);
type Events = mpsc::Sender<Result<BookEvent, Status>>;

async fn send_events((books, changes): Watched, request: WatchBooksRequest, events: Events) {
    for book in books {
        let event = BookEvent { kind: Kind::Present.into(), book: Some(book) };
        if events.send(Ok(event)).await.is_err() {
            return;
        }
    }
    if request.follow {
        send_changes(changes, &request.parent, &events).await;
    }
}

/// Until the client is gone, or too slow.
async fn send_changes(mut changes: broadcast::Receiver<BookEvent>, parent: &str, events: &Events) {
    loop {
        let change = tokio::select! {
            change = changes.recv() => change,
            () = events.closed() => return,
        };
        let sent = match change {
            Ok(event) if event.book.as_ref().is_some_and(|book| watched(book, parent)) => {
                events.send(Ok(event)).await
            }
            Ok(_) => Ok(()),
            Err(RecvError::Lagged(_)) => {
                // Whether the client still hears of it makes no difference here.
                let _ = events.send(Err(Status::data_loss("the watcher was too slow"))).await;
                return;
            }
            Err(RecvError::Closed) => return,
        };
        if sent.is_err() {
            return;
        }
    }
}
