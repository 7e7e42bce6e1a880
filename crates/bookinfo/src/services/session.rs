//! Logging in and out on productpage. Nobody is asked for a password: a login exists so that a user's requests can be
//! told apart, and the cookie is therefore the plain name.

use axum::Form;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, StatusCode, header};
use serde::Deserialize;

use crate::context::USER_COOKIE;

/// Where the browser goes after logging in or out.
const PAGE: &str = "/productpage";

/// The fields of the login form.
#[derive(Debug, Deserialize)]
pub(super) struct Login {
    username: String,
    #[serde(default, rename = "passwd")]
    _password: String,
}

/// `POST /login`.
pub(super) async fn login(Form(login): Form<Login>) -> Response {
    if !is_user_name(&login.username) {
        let rule = "a user name has 1 to 64 letters, digits, and . _ - @";
        return (StatusCode::BAD_REQUEST, rule).into_response();
    }
    redirect(format!("{USER_COOKIE}={}; Path=/; HttpOnly; SameSite=Lax", login.username))
}

/// `GET` or `POST /logout`.
pub(super) async fn logout() -> Response {
    redirect(format!("{USER_COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"))
}

fn redirect(cookie: String) -> Response {
    let headers: [(HeaderName, String); 2] = [(header::SET_COOKIE, cookie), (header::LOCATION, PAGE.to_owned())];
    (StatusCode::FOUND, headers).into_response()
}

/// The name goes into a cookie and a header as it is, so it may only have signs that mean nothing there.
fn is_user_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_smuggle_cookie_attributes() {
        assert!(is_user_name("jason") && is_user_name("a.b_c-d@e"));
        for name in ["", "a;Path=/x", "a\r\nb", "a b", "ü", &"x".repeat(65)] {
            assert!(!is_user_name(name), "{name:?}");
        }
    }
}
