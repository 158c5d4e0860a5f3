//! The pages for monitoring: `/metrics`, `/healthz`, `/readyz`.
//!
//! They are served by a thread of their own with a runtime of its own, so a slow scraper takes
//! nothing from clients, and a server that is busy still says that it is alive. What the pages say
//! comes from outside ([`Pages`]): this module knows HTTP and nothing of the server.

use super::bounded::BoundedListener;
use super::export::CONTENT_TYPE;
use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::io;
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bytes of a request's body that are read; none of the pages looks at it.
const BODY_BYTES_MAX: usize = 4096;

/// What the pages say. Each is asked anew for every request.
pub struct Pages {
    /// The text of `/metrics`.
    pub metrics: Box<dyn Fn() -> Vec<u8> + Send + Sync>,
    /// Why the server should get no clients now; `None` if it should.
    pub unready: Box<dyn Fn() -> Option<&'static str> + Send + Sync>,
}

/// The thread that serves the pages.
pub struct Monitoring {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Monitoring {
    /// Listens on `address`, a name or number, and `port`, and begins to serve.
    pub fn start(address: &str, port: u16, pages: Pages) -> io::Result<Monitoring> {
        let addresses: Vec<_> = (address, port).to_socket_addrs()?.collect();
        let listener = TcpListener::bind(&*addresses)?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(move || {
                let served = runtime.block_on(serve(listener, pages, stopped));
                if let Err(error) = served {
                    tracing::warn!("The metrics pages are no longer served: {error}");
                }
            })?;
        Ok(Monitoring { stop, thread })
    }

    /// Stops serving. Scrapes under way are broken off.
    pub fn join(self) {
        self.stop.cancel();
        let _ = self.thread.join();
    }
}

async fn serve(listener: TcpListener, pages: Pages, stop: CancellationToken) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let server = axum::serve(BoundedListener::new(listener), router(Arc::new(pages)));
    tokio::select! {
        served = async { server.await } => served,
        () = stop.cancelled() => Ok(()),
    }
}

fn router(pages: Arc<Pages>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(pages)
}

async fn metrics(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], (pages.metrics)())
}

async fn readyz(State(pages): State<Arc<Pages>>) -> impl IntoResponse {
    match (pages.unready)() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// A free port. Another process may take it before it is used; then the test says so.
    fn free_port() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.local_addr().unwrap().port()
    }

    fn ask(port: u16, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        // A server that has seen enough may reset the connection after its answer.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn page(port: u16, path: &str) -> String {
        ask(
            port,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes(),
        )
    }

    #[test]
    fn pages_answer_and_bad_requests_harm_nothing() {
        let ready = Arc::new(AtomicBool::new(false));
        let is_ready = ready.clone();
        let pages = Pages {
            metrics: Box::new(|| b"eagledb_up 1\n".to_vec()),
            unready: Box::new(move || (!is_ready.load(Ordering::Relaxed)).then_some("starting")),
        };
        let port = free_port();
        let monitoring = Monitoring::start("127.0.0.1", port, pages).unwrap();

        assert!(page(port, "/healthz").starts_with("HTTP/1.1 200"));
        let unready = page(port, "/readyz");
        assert!(
            unready.starts_with("HTTP/1.1 503") && unready.ends_with("starting\n"),
            "{unready}"
        );
        ready.store(true, Ordering::Relaxed);
        assert!(page(port, "/readyz").starts_with("HTTP/1.1 200"));
        let metrics = page(port, "/metrics");
        assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
        assert!(metrics.ends_with("\r\n\r\neagledb_up 1\n"), "{metrics}");
        assert!(page(port, "/").starts_with("HTTP/1.1 404"));

        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
        assert!(!ask(port, long.as_bytes()).starts_with("HTTP/1.1 200"));
        assert!(!ask(port, b"\x16\x03\x01\0\0\r\n\r\n").starts_with("HTTP/1.1 200"));
        assert!(ask(port, b"POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx").starts_with("HTTP/1.1 405"));
        assert!(page(port, "/healthz").starts_with("HTTP/1.1 200"));

        monitoring.join();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
}
