//! Expectations about headers.

use std::collections::BTreeMap;

use super::context::Context;
use crate::diagnostic::tree::Path;
use crate::scenario::file::{HeaderFile, HeadersFile};
use crate::scenario::plan::{Header, Headers};

impl Context<'_> {
    pub(super) fn headers(&mut self, path: &Path, file: &HeadersFile) -> Option<Headers> {
        if file.request.is_empty() && file.response.is_empty() {
            self.key_error(path, "no header is named").help("add `request` or `response`");
            return None;
        }
        let request = self.side(&path.key("request"), &file.request);
        let response = self.side(&path.key("response"), &file.response);
        Some(Headers { request, response })
    }

    fn side(&mut self, path: &Path, files: &BTreeMap<String, HeaderFile>) -> BTreeMap<String, Header> {
        let mut headers = BTreeMap::new();
        for (name, file) in files {
            let path = path.key(name);
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_token) {
                self.key_error(&path, format!("`{name}` is no name of a header"));
            }
            match (&file.equals, &file.contains, file.present) {
                (Some(value), None, None) => headers.insert(name.to_lowercase(), Header::Equals(value.clone())),
                (None, Some(part), None) => headers.insert(name.to_lowercase(), Header::Contains(part.clone())),
                (None, None, Some(true)) => headers.insert(name.to_lowercase(), Header::Present),
                (None, None, Some(false)) => headers.insert(name.to_lowercase(), Header::Absent),
                _ => {
                    self.key_error(&path, format!("it is not said what `{name}` must be"))
                        .help("write exactly one of `equals`, `contains` and `present`");
                    None
                }
            };
        }
        headers
    }
}
