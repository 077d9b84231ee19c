//! Connections, and their limits.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use tower_http::timeout::RequestBodyTimeoutLayer;

use crate::answer::Refusal;

/// The largest body, in bytes.
pub const LARGEST_BODY: u32 = 16 << 20;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: usize = 128 << 10;

/// How many connections are served at a time. Others wait to be accepted.
const CONNECTIONS: usize = 512;

/// How long a head, or the next part of a body or an answer, may take.
const SILENCE: Duration = Duration::from_secs(10);

/// How long a request may take in total.
const REQUEST: Duration = Duration::from_mins(1);

/// How long answers may take after the server is told to stop.
const GRACE: Duration = Duration::from_secs(10);

/// The routes, with limits on their bodies and their time.
pub(crate) fn limited(router: Router) -> Router {
    router
        .layer(DefaultBodyLimit::max(LARGEST_BODY as usize))
        .layer(RequestBodyTimeoutLayer::new(SILENCE))
        .layer(from_fn(too_large))
        .layer(from_fn(too_long))
}

/// Gives up a request after a while. Whether it has changed anything is then unknown.
async fn too_long(request: Request, next: Next) -> Response {
    let answered = timeout(REQUEST, next.run(request)).await;
    answered.unwrap_or_else(|elapsed| Refusal::Unknown(elapsed.into()).into_response())
}

/// Refuses a body that is too large as soon as its head says so. If the client sends it all the same,
/// it is read and dropped for a while: some clients read no answer before they have sent everything.
async fn too_large(request: Request, next: Next) -> Response {
    if request.body().size_hint().lower() <= LARGEST_BODY.into() {
        return next.run(request).await;
    }
    if !request.headers().contains_key(header::EXPECT) {
        let mut body = request.into_body();
        let drop_all = async move { while let Some(Ok(_)) = body.frame().await {} };
        tokio::spawn(timeout(SILENCE, drop_all));
    }
    (StatusCode::PAYLOAD_TOO_LARGE, "The body is too large").into_response()
}

/// Serves until it is told to stop, and then answers pending requests.
pub(crate) async fn serve(listener: TcpListener, router: Router, mut stop: watch::Receiver<bool>) {
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).max_buf_size(LONGEST_HEAD).header_read_timeout(SILENCE);
    loop {
        if places.available_permits() == 0 {
            tracing::warn!("{CONNECTIONS} connections are open: the next one waits");
        }
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(fault) => {
                tracing::error!("no connection: {fault}"); // too many open files, for example
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        _ = stream.set_nodelay(true); // an answer is written in parts
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(SILENCE));
        let service = TowerToHyperService::new(router.clone());
        let stream = TokioIo::new(Box::pin(stream));
        let connection = connections.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            _ = connection.await;
            drop(place);
        });
    }
    drop(listener);
    _ = timeout(GRACE, connections.shutdown()).await;
}
