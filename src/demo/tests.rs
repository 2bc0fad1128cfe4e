//! The services over real connections, and their checked-in descriptor sets.

use tonic::Code;
use tonic::transport::Channel;

use super::proto::library::v1::library_service_client::LibraryServiceClient;
use super::proto::library::v1::{
    Book, BookEvent, BookFilter, CreateBookRequest, DeleteShelfRequest, GetBookRequest, ListBooksRequest,
    MoveBookRequest, UpdateBookRequest, WatchBooksRequest, book_event::Kind,
};
use super::{BESIDE_DESCRIPTORS, Backend, DESCRIPTORS, Library, Reviews, Server, Writers};

async fn start() -> (Backend, LibraryServiceClient<Channel>) {
    let backend = Backend::start(Library::default()).expect("a port is free");
    let client = LibraryServiceClient::connect(backend.url()).await.expect("the backend listens");
    (backend, client)
}

/// With `TRANSOM_BLESS=1` it writes them anew.
#[test]
fn descriptors_are_those_of_the_proto_files() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = |name: &str, files: &[&str], checked_in: &[u8]| {
        let mut compiler = protox::Compiler::new([root.join("proto")]).expect("proto/ exists");
        compiler.include_imports(true).include_source_info(true);
        compiler.open_files(files).expect("they compile");
        let compiled = compiler.encode_file_descriptor_set();
        if std::env::var_os("TRANSOM_BLESS").is_some() {
            std::fs::write(root.join("descriptors").join(name), &compiled).expect("descriptors/ is writable");
        } else {
            assert!(
                compiled == checked_in,
                "descriptors/{name} is stale: run this test with TRANSOM_BLESS=1"
            );
        }
    };
    check("library.binpb", &["library/v1/library.proto"], DESCRIPTORS);
    let beside = ["writers/v1/writers.proto", "reviews/v1/reviews.proto"];
    check("beside.binpb", &beside, BESIDE_DESCRIPTORS);
}

#[tokio::test]
async fn pages_follow_each_other_without_overlap() {
    let (_backend, mut client) = start().await;
    let mut seen = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListBooksRequest { page_size: 3, page_token, ..ListBooksRequest::default() };
        let page = client.list_books(request).await.expect("books are listed").into_inner();
        seen.extend(page.books.into_iter().map(|book| book.name));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    assert_eq!(seen, ["shelves/1/books/1", "shelves/1/books/2", "shelves/2/books/1", "shelves/2/books/2"]);
    let request = ListBooksRequest { page_size: -1, ..ListBooksRequest::default() };
    assert_eq!(client.list_books(request).await.expect_err("refused").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let (_backend, mut client) = start().await;
    let mut check = async |filter: BookFilter, expected: &[&str]| {
        let request = ListBooksRequest { filter: Some(filter), ..ListBooksRequest::default() };
        let reply = client.list_books(request).await.expect("books are listed").into_inner();
        let titles: Vec<_> = reply.books.iter().map(|book| book.title.as_str()).collect();
        assert_eq!(titles, expected);
    };
    let author = || BookFilter { author: "Mary Shelley".into(), ..BookFilter::default() };
    check(author(), &["Frankenstein"]).await;
    check(BookFilter { genres: vec![2], ..author() }, &[]).await;
    let labels = [("original".to_owned(), "fr".to_owned())].into();
    check(BookFilter { labels, ..BookFilter::default() }, &["Twenty Thousand Leagues Under the Seas"]).await;
    let most = prost_types::Duration { seconds: 6 * 3600, nanos: 0 };
    check(BookFilter { max_reading_time: Some(most), ..BookFilter::default() }, &["Frankenstein"]).await;
    let since = prost_types::Timestamp { seconds: -3_155_673_600, nanos: 1 };
    check(BookFilter { published_since: Some(since), ..BookFilter::default() }, &[]).await;
}

#[tokio::test]
async fn only_the_fields_of_the_mask_change() {
    let (_backend, mut client) = start().await;
    let name = "shelves/1/books/2".to_owned();
    let book = Book { name: name.clone(), pages: 7, title: "ignored".into(), ..Book::default() };
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let request = UpdateBookRequest { book: Some(book.clone()), update_mask: mask("pages") };
    let updated = client.update_book(request).await.expect("it exists").into_inner();
    assert_eq!((updated.pages, updated.title.as_str()), (7, "Frankenstein"));
    let request = UpdateBookRequest { book: Some(book.clone()), update_mask: mask("colour") };
    assert_eq!(client.update_book(request).await.expect_err("no such field").code(), Code::InvalidArgument);
    let unmasked = |book: &Book| UpdateBookRequest { book: Some(book.clone()), update_mask: None };
    let updated = client.update_book(unmasked(&book)).await.expect("it exists").into_inner();
    assert_eq!((updated.pages, updated.title.as_str(), updated.authors.len()), (7, "ignored", 1));
    let empty = Book { name: name.clone(), ..Book::default() };
    let same = client.update_book(unmasked(&empty)).await.expect("it exists").into_inner();
    assert_eq!(Book { etag: updated.etag.clone(), ..same }, updated);
    let request = UpdateBookRequest { book: Some(book), update_mask: mask("*") };
    let updated = client.update_book(request).await.expect("it exists").into_inner();
    assert_eq!((updated.pages, updated.title.as_str(), updated.authors.len()), (7, "ignored", 0));
    assert_eq!(updated.name, name);
}

#[tokio::test]
async fn a_moved_book_has_its_new_name_only() {
    let (_backend, mut client) = start().await;
    let name = "shelves/1/books/1".to_owned();
    client
        .delete_shelf(DeleteShelfRequest { name: "shelves/2".into(), force: true })
        .await
        .expect("force deletes the books too");
    let request = MoveBookRequest { name: name.clone(), destination: "shelves/2".into() };
    assert_eq!(client.move_book(request).await.expect_err("no shelf").code(), Code::NotFound);
    let (_backend, mut client) = start().await;
    let request = MoveBookRequest { name, destination: "shelves/2".into() };
    assert_eq!(client.move_book(request).await.expect_err("taken").code(), Code::AlreadyExists);
    let book = Book { title: "New".into(), ..Book::default() };
    let request = CreateBookRequest { parent: "shelves/1".into(), book: Some(book), book_id: "new".into() };
    let name = client.create_book(request).await.expect("created").into_inner().name;
    let request = MoveBookRequest { name: name.clone(), destination: "shelves/2".into() };
    let moved = client.move_book(request).await.expect("moved").into_inner().name;
    assert_eq!(moved, "shelves/2/books/new");
    let error = client.get_book(GetBookRequest { name }).await.expect_err("gone");
    assert_eq!(error.code(), Code::NotFound);
    assert!(!error.details().is_empty(), "a ResourceInfo names what is missing");
}

#[tokio::test]
async fn a_watch_ends_unless_it_follows() {
    let (backend, mut client) = start().await;
    let parent = "shelves/1".to_owned();
    let request = WatchBooksRequest { parent: parent.clone(), follow: false };
    let mut stream = client.watch_books(request).await.expect("the shelf exists").into_inner();
    for _ in 0..2 {
        assert_eq!(next(&mut stream).await.expect("two books are there").kind(), Kind::Present);
    }
    assert_eq!(next(&mut stream).await, None);

    let request = WatchBooksRequest { parent: parent.clone(), follow: true };
    let mut stream = client.watch_books(request).await.expect("the shelf exists").into_inner();
    next(&mut stream).await;
    next(&mut stream).await;
    let book = Some(Book { title: "New".into(), ..Book::default() });
    let request = CreateBookRequest { parent, book, book_id: String::new() };
    client.create_book(request).await.expect("created");
    assert_eq!(next(&mut stream).await.expect("a change").kind(), Kind::Created);
    drop(stream);
    while backend.library().watchers() > 0 {
        tokio::task::yield_now().await;
    }
}

async fn next(stream: &mut tonic::Streaming<BookEvent>) -> Option<BookEvent> {
    stream.message().await.expect("the stream is whole")
}

#[tokio::test]
async fn a_read_mask_leaves_the_named_fields() {
    use super::proto::writers::v1::writer_service_client::WriterServiceClient;
    use super::proto::writers::v1::{BatchGetWritersRequest, GetWriterRequest};
    let server = Server::of_writers(Writers::default()).expect("a port is free");
    let mut client = WriterServiceClient::connect(server.url()).await.expect("the backend listens");
    let mask = |path: &str| Some(prost_types::FieldMask { paths: vec![path.to_owned()] });
    let display_names = ["Mary Shelley", "Nobody"].map(str::to_owned).into();
    let request = BatchGetWritersRequest { display_names, read_mask: mask("birth_year") };
    let writers = client.batch_get_writers(request).await.expect("they are read").into_inner().writers;
    let [writer] = &*writers else { panic!("{writers:?}") };
    assert_eq!((writer.birth_year, writer.country.as_str()), (1797, ""));
    let request = |path| GetWriterRequest { display_name: "Mary Shelley".into(), read_mask: mask(path) };
    let writer = client.get_writer(request("*")).await.expect("she is known").into_inner();
    assert_eq!((writer.birth_year, writer.country.as_str()), (1797, "England"));
    let error = client.get_writer(request("shoe_size")).await.expect_err("no such field");
    assert_eq!(error.code(), Code::InvalidArgument);
    let request = GetWriterRequest { display_name: "Nobody".into(), read_mask: None };
    assert_eq!(client.get_writer(request).await.expect_err("nobody").code(), Code::NotFound);
}

#[tokio::test]
async fn reviews_are_summed_up_where_there_are_some() {
    use super::proto::reviews::v1::BatchGetSummariesRequest;
    use super::proto::reviews::v1::review_service_client::ReviewServiceClient;
    let server = Server::of_reviews(Reviews::default()).expect("a port is free");
    let mut client = ReviewServiceClient::connect(server.url()).await.expect("the backend listens");
    let books = ["shelves/1/books/1", "shelves/2/books/2"].map(str::to_owned).into();
    let request = BatchGetSummariesRequest { books };
    let summaries = client.batch_get_summaries(request).await.expect("they are read").into_inner().summaries;
    let [summary] = &*summaries else { panic!("{summaries:?}") };
    assert_eq!((summary.review_count, summary.stars), (2, 4.0));
    assert_eq!(summary.best.as_ref().map(|best| best.stars), Some(5));
}
