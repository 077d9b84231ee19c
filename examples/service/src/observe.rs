//! What an operator sees: the log, one line per request, and `/metrics`.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Instrument as _;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Standard error, for as long as it can be written. A log that cannot be written must stop nobody.
struct Lossy;

impl Write for Lossy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs to standard error, at the level in `RUST_LOG`; `info` by default.
pub fn log() {
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let wanted = wanted.try_from_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(wanted).with_writer(|| Lossy);
    log.with_ansi(io::stderr().is_terminal()).init();
}

static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();

/// Keeps what is counted from here on.
pub(crate) fn count() {
    METRICS.get_or_init(|| {
        let seconds = Matcher::Suffix("seconds".to_owned());
        let buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &buckets);
        builder.expect("buckets").install_recorder().expect("the only recorder")
    });
}

/// The numbers in the text format of Prometheus.
pub(crate) async fn metrics() -> String {
    METRICS.get().map(PrometheusHandle::render).unwrap_or_default()
}

/// Logs and counts a request. Whatever is logged meanwhile names the request.
pub(crate) async fn request(request: Request, next: Next) -> Response {
    let begin = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = route.unwrap_or("none").to_owned();
    let path = request.uri().path().to_owned();
    let span = tracing::error_span!("request", method = %request.method(), path);
    let answer = next.run(request).instrument(span.clone()).await;
    let (code, took) = (answer.status().as_u16(), begin.elapsed());
    span.in_scope(|| tracing::info!(code, ms = took.as_millis(), "answered"));
    let labels = [("route", route), ("code", code.to_string())];
    metrics::histogram!("http_request_seconds", &labels).record(took);
    answer
}
