// A client of the demo whose types are generated from the document that the gateway serves: what the compiler
// lets pass works, and what does not exist does not compile. Argument: the gateway's URL.

import createClient from "openapi-fetch";
import type { components, paths } from "./demo.js";

type Book = components["schemas"]["library.v1.Book"];

declare const process: { argv: string[] };

function same(actual: unknown, expected: unknown): void {
  const [found, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (found !== wanted) throw new Error(`expected ${wanted}, found ${found}`);
}

const client = createClient<paths>({ baseUrl: process.argv[2] ?? "" });
const shelf = { shelvesId: "1" };

const listed = await client.GET("/v1/books", {
  params: { query: { pageSize: 2, "filter.genres": ["FICTION"], "filter.maxReadingTime": "36000s" } },
});
same(listed.data?.books?.map((book) => book.title), [
  "Twenty Thousand Leagues Under the Seas",
  "Frankenstein",
]);

const created = await client.POST("/v1/shelves/{shelvesId}/books", {
  params: { path: shelf, query: { bookId: "dracula" } },
  body: { title: "Dracula", authors: ["Bram Stoker"], genre: "FICTION", isbn: "9780141439846", pages: 418 },
});
const dracula: Book | undefined = created.data;
same(dracula?.name, "shelves/1/books/dracula");
same(dracula?.isbn satisfies string | undefined, "9780141439846");

const book = { ...shelf, booksId: "dracula" };
const updated = await client.PATCH("/v1/shelves/{shelvesId}/books/{booksId}", {
  params: { path: book },
  body: { rating: 4.5, loan: { reader: "Mina", dueTime: "2026-12-01T00:00:00Z" } },
});
same([updated.data?.pages, updated.data?.loan?.reader], [418, "Mina"]);

const moved = await client.POST("/v1/shelves/{shelvesId}/books/{booksId}:move", {
  params: { path: book },
  body: { destination: "shelves/2" },
});
same(moved.data?.name, "shelves/2/books/dracula");

const gone = await client.GET("/v1/shelves/{shelvesId}/books/{booksId}", { params: { path: book } });
same([gone.response.status, gone.data, gone.error?.code], [404, undefined, 5]);

const counted = await client.POST("/library.v1.LibraryService/CountBooks", { body: {} });
same(counted.data?.books, "5");

// The other services of the same gateway.
type Writer = components["schemas"]["writers.v1.Writer"];
const verne = await client.GET("/v1/writers/{display_name}", {
  params: { path: { display_name: "Jules Verne" }, query: { readMask: "country,birthYear" } },
});
const writer: Writer | undefined = verne.data;
same([writer?.country, writer?.birthYear, writer?.deathYear], ["France", 1828, undefined]);

const batch = await client.GET("/v1/writers:batchGet", {
  params: { query: { displayNames: ["Mary Shelley", "Nobody", "Michael Faraday"] } },
});
same(batch.data?.writers?.map((one) => one.displayName), ["Mary Shelley", "Michael Faraday"]);

const first = { shelvesId: "1", booksId: "1" };
const reviews = await client.GET("/v1/shelves/{shelvesId}/books/{booksId}/reviews", { params: { path: first } });
const stars: number[] = reviews.data?.reviews?.map((review) => review.stars ?? 0) ?? [];
const summary = await client.GET("/v1/shelves/{shelvesId}/books/{booksId}/reviews:summary", { params: { path: first } });
same(summary.data?.reviewCount, stars.length);
same(summary.data?.stars, stars.reduce((sum, one) => sum + one, 0) / stars.length);
const best: components["schemas"]["reviews.v1.Review"] | undefined = summary.data?.best;
same(best?.stars, Math.max(...stars));

// @ts-expect-error: there is no such path.
void (() => client.GET("/v1/magazines"));
// @ts-expect-error: a title is required.
void (() => client.POST("/v1/shelves/{shelvesId}/books", { params: { path: shelf }, body: { pages: 1 } }));
// @ts-expect-error: a batch is of names.
void (() => client.GET("/v1/writers:batchGet", { params: { query: { displayNames: [1] } } }));
// @ts-expect-error: no genre is called so.
const wrong: Book = { genre: "WESTERN" };
void wrong;
console.log("the demo answers as its types say");
