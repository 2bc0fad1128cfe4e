//! The docs page of the demo in Chromium: an operation of each service is tried as a person would, on a wide and on a
//! narrow screen, and nothing is asked of anybody but the gateway.
//!
//! Its pictures are in `target/tmp`, for whoever wants to see them.

use std::path::Path;

use serde_json::{Value, json};

use super::document;
use crate::support::chromium::{self, Page};
use crate::support::demo::Demo;

/// An operation, what is typed in, what is asked for then, and a member of the reply.
struct Trial {
    /// As the page calls its element: the tag and the operation's id.
    id: &'static str,
    typed: &'static [(&'static str, &'static str)],
    path: &'static str,
    member: (&'static str, &'static str),
}

const TRIALS: &[Trial] = &[
    Trial {
        id: "LibraryService-LibraryService_GetBook",
        typed: &[("shelvesId", "1"), ("booksId", "1")],
        path: "/v1/shelves/1/books/1",
        member: ("title", "Twenty Thousand Leagues Under the Seas"),
    },
    Trial {
        id: "WriterService-WriterService_GetWriter",
        typed: &[("display_name", "Jules Verne")],
        path: "/v1/writers/Jules%20Verne",
        member: ("country", "France"),
    },
    Trial {
        id: "ReviewService-ReviewService_GetSummary",
        typed: &[("shelvesId", "2"), ("booksId", "1")],
        path: "/v1/shelves/2/books/1/reviews:summary",
        member: ("book", "shelves/2/books/1"),
    },
];

const SCREENS: [(&str, u32, u32, bool); 2] = [("wide", 1280, 900, false), ("narrow", 390, 844, true)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_are_tried_in_a_browser() {
    if !chromium::is_there() {
        return;
    }
    let demo = Demo::start().await;
    let operations = operations(&document(&demo).await);
    let mut page = Page::open().await;
    for (screen, width, height, mobile) in SCREENS {
        let scale = if mobile { 2 } else { 1 };
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": scale, "mobile": mobile });
        page.tell("Emulation.setDeviceMetricsOverride", metrics).await;
        // Away from what the last screen has left.
        page.navigate("about:blank").await;
        page.shows("location.href", "about:blank").await;
        page.navigate(&format!("{}/docs", demo.gateway())).await;
        let title = page.with(".info .title", "element.firstChild.textContent").await;
        assert_eq!(title, "Library", "{screen}");
        let shown = "String(document.querySelectorAll('.opblock').length)";
        assert_eq!(page.shows(shown, &operations.to_string()).await, operations.to_string(), "{screen}");
        photograph(&mut page, screen, "opened").await;
        for trial in TRIALS {
            try_out(&mut page, trial).await;
        }
        photograph(&mut page, screen, "tried").await;
        let wide = page.evaluate("document.documentElement.scrollWidth").await;
        assert_eq!(wide, width, "{screen}: the page is as wide as the screen");
    }
    assert_eq!(page.asked_elsewhere(demo.gateway()), <[&String; 0]>::default());
    for trial in TRIALS {
        let url = format!("{}{}", demo.gateway(), trial.path);
        assert!(page.requested.contains(&url), "{url}: {:?}", page.requested);
    }
    assert_eq!(page.complaints, <[String; 0]>::default());
}

/// How many operations a document has.
fn operations(document: &Value) -> usize {
    let paths = document["paths"].as_object().expect("paths");
    paths.values().map(|item| item.as_object().map_or(0, serde_json::Map::len)).sum()
}

/// Fills in what is asked for, sends it and reads the reply.
async fn try_out(page: &mut Page, trial: &Trial) {
    let own = format!("#operations-{}", trial.id);
    page.with(&format!("{own} .opblock-summary-control"), "element.click()").await;
    for (parameter, text) in trial.typed {
        let input = format!("{own} tr[data-param-name={parameter}] input");
        page.with(&input, "element.focus()").await;
        page.tell("Input.insertText", json!({ "text": text })).await;
        // The page waits with what is typed until nobody goes on, or leaves.
        page.with(&input, "element.blur()").await;
    }
    page.with(&format!("{own} .execute"), "element.click()").await;
    let reply = format!("{own} .live-responses-table .highlight-code code");
    let reply = page.with(&reply, "element.textContent").await;
    let reply: Value = serde_json::from_str(reply.as_str().expect("text")).expect("JSON");
    let (member, expected) = trial.member;
    assert_eq!(reply[member], expected, "{}: {reply}", trial.id);
    let status = format!("{own} .live-responses-table .response .response-col_status");
    assert_eq!(page.with(&status, "element.textContent").await, "200", "{}", trial.id);
    page.with(&format!("{own} .execute"), "element.scrollIntoView()").await;
}

async fn photograph(page: &mut Page, screen: &str, what: &str) {
    page.photograph(Path::new(env!("CARGO_TARGET_TMPDIR")), &format!("docs-{screen}-{what}.png")).await;
}
