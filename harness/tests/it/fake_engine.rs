//! A Docker engine that is none: on a socket it answers as one does that lacks something. What it answers was heard of Docker 20.10.

use std::convert::Infallible;

use camino::{Utf8Path, Utf8PathBuf};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;

/// How a request is answered: the first whose method and whose path's end fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) status: u16,
    pub(crate) body: &'static str,
}

/// An engine on which there is nothing.
const EMPTY: [Answer; 4] = [
    Answer { method: "GET", path: "/version", status: 200, body: r#"{"Version":"20.10.24","ApiVersion":"1.41"}"# },
    Answer { method: "GET", path: "/containers/json", status: 200, body: "[]" },
    Answer { method: "GET", path: "/networks", status: 200, body: "[]" },
    Answer { method: "GET", path: "/volumes", status: 200, body: r#"{"Volumes":[]}"# },
];
/// What there is none of.
const NONE: Answer = Answer { method: "", path: "", status: 404, body: r#"{"message":"No such image"}"# };

/// The socket is there as long as this value, and somebody answers on it as long as this process.
pub(crate) struct FakeEngine {
    folder: TempDir,
}

impl FakeEngine {
    /// One that answers so, and else as one on which there is nothing.
    pub(crate) fn answering(answers: &[Answer]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let engine = Self { folder };
        let answers: Vec<Answer> = answers.iter().copied().chain(EMPTY).collect();
        let listener = std::os::unix::net::UnixListener::bind(engine.socket()).expect("bound");
        listener.set_nonblocking(true).expect("it may wait");
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, answers));
        });
        engine
    }

    pub(crate) fn socket(&self) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).expect("UTF-8").join("docker.sock")
    }

    /// As `DOCKER_HOST`.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket())
    }
}

async fn serve(listener: std::os::unix::net::UnixListener, answers: Vec<Answer>) {
    let listener = tokio::net::UnixListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let answers = answers.clone();
        let service = service_fn(move |request| answer(request, answers.clone()));
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(request: Request<Incoming>, answers: Vec<Answer>) -> Result<Response<Full<Bytes>>, Infallible> {
    let fits = |one: &&Answer| one.method == *request.method() && request.uri().path().ends_with(one.path);
    let found = answers.iter().find(fits).copied().unwrap_or(NONE);
    if request.method() == Method::POST {
        // Whoever sends must be heard to the end.
        let _broken = request.into_body().collect().await;
    }
    let response = Response::builder().status(found.status).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from_static(found.body.as_bytes()))).expect("a right answer"))
}
