//! The admin listener: `/healthz`, `/readyz`, `/metrics`.
//!
//! It has a thread and a runtime of its own, so that it answers when every worker is busy, and it
//! outlives the workers, so that a balancer reads 503 until the end.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use super::drain::{Drain, Step};
use crate::telemetry::Metrics;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) fn spawn(
    socket: std::net::TcpListener,
    metrics: Arc<Metrics>,
    drain: Drain,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("transom-admin".to_owned()).spawn(move || {
        runtime.block_on(async {
            if let Err(error) = serve(socket, metrics, drain).await {
                tracing::error!(%error, "the admin listener has failed");
            }
        });
        runtime.shutdown_background();
    })
}

async fn serve(socket: std::net::TcpListener, metrics: Arc<Metrics>, drain: Drain) -> io::Result<()> {
    let listener = TcpListener::from_std(socket)?;
    let ready = drain.clone();
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async move || readiness(ready.step())))
        .route("/metrics", get(async move || ([(CONTENT_TYPE, OPENMETRICS)], metrics.render())));
    tokio::select! {
        result = axum::serve(listener, router) => result,
        () = drain.reached(Step::Gone) => Ok(()),
    }
}

fn readiness(step: Step) -> impl IntoResponse {
    match step {
        Step::Serving => (StatusCode::OK, "ready\n"),
        Step::Announced | Step::Stopping | Step::Gone => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}
