//! What went wrong, in words.

use kube::runtime::watcher;

/// The causes of an error in one line, which is what tells a refused connection from a refused token.
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
}

/// Whether a watch that had begun is no longer allowed.
pub fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if matches!(status.code, 401 | 403))
}

/// Whether the first list of a watch was refused with one of these codes.
pub fn is_status(error: &watcher::Error, codes: &[u16]) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if codes.contains(&status.code))
}
