//! One HTTP connection that is kept alive, with limits for idle time between requests and for each
//! part of a request. It is never closed in the middle of a request that makes progress.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until};

/// Time to respond to the last requests when the server stops; no response waits for anything.
const LAST_ANSWER: Duration = Duration::from_millis(200);

/// Most bytes of a request that are buffered, its head above all.
// The library's own limit is 408 KiB: a few thousand slow clients would take gigabytes.
const MAX_HEAD: usize = 16 * 1024;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// Time limits of the parts of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    /// The head of a request.
    pub(crate) head: Duration,
    /// Silence while a request is answered.
    pub(crate) answer: Duration,
    /// Silence between two requests; none: the connection is closed after its first response.
    pub(crate) keep_alive: Option<Duration>,
}

/// The end of a connection.
#[derive(Debug)]
pub(crate) enum End {
    /// Closed in order, or by the client.
    Served(Result<(), hyper::Error>),
    /// The client took too long for a request or its response.
    Late,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request is under way.
    Idle,
    /// The head of a request comes in.
    Head,
    /// A request is answered.
    Answering,
    /// The connection is no HTTP any more.
    Upgraded,
}

/// The progress of a connection, as its stream and its requests see it.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The time at which the phase began, or bytes moved that it waits for.
    since: Instant,
    /// The time at which the head of the last request began.
    requested_at: Instant,
}

impl Progress {
    /// A connection that was made now: the client is expected to send a request.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(State { phase: Phase::Head, since: now, requested_at: now })))
    }

    /// The time at which the head of the last request began; of the first one when the connection
    /// was made.
    pub(crate) fn request_began_at(&self) -> Instant {
        self.state().requested_at
    }

    /// The connection is no HTTP any more.
    pub(crate) fn upgraded(&self) {
        self.state().phase = Phase::Upgraded;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes moved. Returns false if that is of no interest any more.
    fn moved(&self, is_read: bool) -> bool {
        let mut state = self.state();
        match state.phase {
            Phase::Idle if is_read => (state.phase, state.since) = (Phase::Head, Instant::now()),
            Phase::Idle | Phase::Answering => state.since = Instant::now(),
            // Its deadline is for all of it.
            Phase::Head => {}
            Phase::Upgraded => return false,
        }
        true
    }

    /// The head of a request is complete. Answered when the returned value is dropped.
    fn begin(&self) -> ActiveRequest {
        let mut state = self.state();
        state.requested_at = state.since;
        (state.phase, state.since) = (Phase::Answering, Instant::now());
        ActiveRequest(self.clone())
    }

    /// The time at which this has taken too long.
    fn due(&self, times: Timeouts) -> Option<Instant> {
        let state = self.state();
        match state.phase {
            Phase::Idle => Some(state.since + times.keep_alive.unwrap_or(times.head)),
            Phase::Head => Some(state.since + times.head),
            Phase::Answering => Some(state.since + times.answer),
            Phase::Upgraded => None,
        }
    }

    fn is_idle(&self) -> bool {
        self.state().phase == Phase::Idle
    }

    fn touch(&self) {
        self.state().since = Instant::now();
    }
}

/// A request that is answered.
struct ActiveRequest(Progress);

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.phase == Phase::Answering {
            (state.phase, state.since) = (Phase::Idle, Instant::now());
        }
    }
}

/// Serves requests until the client closes, is silent for too long, or the server stops.
pub(crate) async fn serve<S, F>(
    stream: S,
    (progress, times): (Progress, Timeouts),
    respond: impl Fn(Request<Incoming>) -> F,
    stopping: impl Future<Output = ()>,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Response>,
{
    let current = progress.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let responding = current.begin();
        let response = respond(request);
        async move {
            let of = Some(responding);
            Ok::<_, Infallible>(response.await.map(|body| Body::new(Tracked { inner: body, of })))
        }
    });
    let stream = Tracked { inner: stream, of: Some(progress.clone()) };
    let connection = hyper::server::conn::http1::Builder::new()
        // The time limits are kept here, by the progress of bytes in both directions.
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .keep_alive(times.keep_alive.is_some())
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection, stopping);
    let alarm = sleep_until(progress.request_began_at() + times.head);
    tokio::pin!(alarm);
    // Set when no further request is taken: the connection ends at this time in any case.
    let mut ends = None;
    let mut is_idle_over = false;
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(served) = connection.as_mut().poll(cx) {
                return Poll::Ready(End::Served(served));
            }
            if ends.is_none() && stopping.as_mut().poll(cx).is_ready() {
                // A client that has sent no request until now is not waited for.
                ends = Some(Instant::now() + LAST_ANSWER);
                connection.as_mut().graceful_shutdown();
                continue;
            }
            let Some(due) = ends.or_else(|| progress.due(times)) else { return Poll::Pending };
            if alarm.deadline() != due {
                alarm.as_mut().reset(due);
            }
            if alarm.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if ends.is_some() {
                return Poll::Ready(End::Served(Ok(())));
            }
            if is_idle_over || !progress.is_idle() {
                return Poll::Ready(End::Late);
            }
            // Requests that arrived meanwhile, and responses that are still being written, are
            // finished.
            is_idle_over = true;
            progress.touch();
            connection.as_mut().graceful_shutdown();
        }
    })
    .await
}

/// A stream or a body whose progress is noted.
pub(crate) struct Tracked<T, O> {
    inner: T,
    of: Option<O>,
}

impl<S, O> Tracked<S, O> {
    /// Returns the stream, whose progress is not noted any more.
    pub(crate) fn into_inner(self) -> S {
        self.inner
    }
}

impl<S> Tracked<S, Progress> {
    fn moved(&mut self, is_read: bool) {
        self.of.take_if(|progress| !progress.moved(is_read));
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tracked<S, Progress> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.moved(true);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tracked<S, Progress> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if written.is_ready() {
            self.moved(false);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        if written.is_ready() {
            self.moved(false);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl hyper::body::Body for Tracked<Body, ActiveRequest> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
