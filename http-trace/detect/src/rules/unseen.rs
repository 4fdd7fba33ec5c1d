//! Fields that public rules name and that no event has, with the reason, so that a rule that is
//! refused says why it can never match here. Knows names only.

/// What bodies hold.
const BODY: &str = "rules do not look into bodies but at the first bytes of responses', with --body-snippet, as \
                    http.response.body.content; use that, or remove the selection or the rule";

/// What bodies of requests hold.
const REQUEST_BODY: &str =
    "rules do not look into bodies of requests; remove the selection or the rule";

/// What a firewall or a proxy decided.
const VERDICT: &str = "it is what a firewall or a proxy decided, which is not on the wire; match \
                       sc-status, or remove the rule";

/// What only the host of the client knows.
const CLIENT: &str = "it is known on the client's own host only; remove the selection or the rule";

const UNSEEN: &[(&str, &str)] = &[
    ("cs-body", REQUEST_BODY),
    ("sc-body", BODY),
    ("body", BODY),
    ("request_body", REQUEST_BODY),
    ("response_body", BODY),
    ("response", BODY),
    ("post_body", REQUEST_BODY),
    ("page_title", BODY),
    ("http.request.body.content", REQUEST_BODY),
    ("action", VERDICT),
    ("sc-action", VERDICT),
    ("s-action", VERDICT),
    ("attack_type", VERDICT),
    ("cs-categories", VERDICT),
    ("sc-filter-result", VERDICT),
    ("x-virus-id", VERDICT),
    ("c-dns", CLIENT),
    ("c-process", CLIENT),
    ("image", CLIENT),
    ("commandline", CLIENT),
];

/// Why no event has a field of this name, if that is known.
pub fn why(name: &str) -> Option<&'static str> {
    let known = UNSEEN.iter();
    known
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, why)| *why)
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Field;

    #[test]
    fn what_no_event_has_is_not_a_field_too() {
        for (name, _) in UNSEEN {
            assert_eq!(Field::named(name), None, "{name}");
            assert!(why(&name.to_uppercase()).is_some());
        }
        assert_eq!(why("sc-status"), None);
    }
}
