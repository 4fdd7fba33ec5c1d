//! Texts that are made to cost time.

use crate::redact::Secrets;
use crate::redact::context::Context;

/// With quadratic time each of these would take minutes, and a header of 60 KB would hold the agent up for seconds.
#[test]
fn hostile_texts_take_no_longer_than_their_length() {
    for piece in [
        "%25", "//", "//a:", "?a", "&", "=", "=/", "=''", "=+", "=a+", "=Bearer+", "=\\n", ":",
        "@", "a@", "a:b@", "a/b@", "@a:1", "@tcp(", "\"", "token=", "token=/", "token=;",
        "token: ", "key:", "key:[", "\"key\":", "digest ", "Hawk ", "mac a=", "code=", "?state=",
        "?stok=", "?stok=a1Aa1Aa1Aa1Aa1Aa", "&p=", "<password>", "<a ", "name=\"token\" ",
        "{\"token\":[", "name=[", "eyJ", "eyJa.", "eyJaaaaa.", "eyJa.eyJ", "eyJ==.a=", "&quot;",
        "\\", " \n", "[token", "%",
    ] {
        let text = piece.repeat((256 << 10) / piece.len());
        for cx in [Context::BODY, Context::TEXT, Context::URL, Context::AUTHORITY] {
            let _ = Secrets::default().clean(text.as_bytes(), &cx);
        }
    }
}
