//! Which names mean that what they name is a secret: one notion for header fields, parameters of
//! URLs, members of JSON, elements of XML and settings, in any case and with any separators.

/// What a name ends with that means a secret, folded: in lower case, letters and digits alone.
/// Unlike [`WORDS`] these are long enough to be told from the end of another word.
const ENDINGS: &[&str] = &[
    "accesskey",
    "apikey",
    "authorization",
    "clientassertion",
    "codeverifier",
    "cookie",
    "encryptionkey",
    "idtokenhint",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwordconfirmation",
    "passwords",
    "privatekey",
    "samlresponse",
    "secret",
    "secretkey",
    "secrets",
    "sessid",
    "sessionid",
    "signature",
    "signingkey",
    "token",
];

/// Words that mean it as a name's last word, or alone: `DB_PASS` and `dbPass`, not `compass`.
const WORDS: &[&str] = &["jwt", "otp", "pass", "pwd", "sig"];

/// The longest name that matters; of a longer one its end does.
const LONGEST: usize = 96;

/// The names that mean a secret, and those that were asked for beside them.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// As they were given, and folded.
    own: Vec<(Vec<u8>, Vec<u8>)>,
    /// A bit for every pair of letters that such a name may end with: most names are done with by
    /// a look at it.
    last_two: [u32; 26],
    /// The length of the shortest.
    shortest: usize,
}

impl Names {
    pub(super) fn with(own: &[String]) -> Self {
        let own: Vec<_> = own
            .iter()
            .map(|name| {
                let mut buffer = [0; LONGEST];
                let (folded, _) = fold(name.as_bytes(), &mut buffer);
                (name.as_bytes().to_vec(), folded.to_vec())
            })
            .collect();
        let known = ENDINGS.iter().chain(WORDS).map(|name| name.as_bytes());
        let mut last_two = [0; 26];
        for name in known.chain(own.iter().map(|(_, folded)| &folded[..])) {
            if let Some((row, bit)) = last_letters(name) {
                last_two[row] |= bit;
            }
        }
        let words = WORDS.iter().map(|word| word.len());
        let lengths = words.chain(own.iter().map(|(raw, folded)| raw.len().min(folded.len())));
        Names {
            shortest: lengths.min().unwrap_or(0),
            own,
            last_two,
        }
    }

    /// Whether what has this name is a secret. Percent-encoding must have been undone.
    pub(super) fn mean_secret(&self, name: &[u8]) -> bool {
        if name.len() < self.shortest {
            return false;
        }
        if let Some((row, bit)) = last_letters(name)
            && self.last_two[row] & bit == 0
        {
            return false;
        }
        // 09:00:00 in a date.
        if self.own.is_empty() && name.iter().all(u8::is_ascii_digit) {
            return false;
        }
        // token[value], user[password]: the latter folds to a name that ends so.
        let outer = memchr::memchr(b'[', name).map(|at| &name[..at]);
        [Some(name), outer]
            .into_iter()
            .flatten()
            .any(|name| self.mean_secret_as_is(name))
    }

    fn mean_secret_as_is(&self, name: &[u8]) -> bool {
        let mut buffer = [0; LONGEST];
        let (folded, last_word) = fold(name, &mut buffer);
        let own = |(raw, own): &(Vec<u8>, Vec<u8>)| {
            raw.eq_ignore_ascii_case(name) || (!own.is_empty() && own == folded)
        };
        if self.own.iter().any(own) {
            return true;
        }
        // password2, token1
        let end = folded.iter().rposition(|b| !b.is_ascii_digit());
        let folded = &folded[..end.map_or(0, |at| at + 1)];
        let word = folded.get(last_word..).unwrap_or_default();
        WORDS.iter().any(|known| word == known.as_bytes())
            || ENDINGS
                .iter()
                .any(|known| folded.ends_with(known.as_bytes()))
    }
}

/// Where the table has the bit of a name's last two bytes, if both are letters.
fn last_letters(name: &[u8]) -> Option<(usize, u32)> {
    let letter = |b: u8| {
        b.is_ascii_alphabetic()
            .then(|| b.to_ascii_lowercase() - b'a')
    };
    let [first, second] = *name.last_chunk()?;
    Some((usize::from(letter(first)?), 1 << letter(second)?))
}

/// The name's letters and digits in lower case, and where its last word begins in that: after a
/// separator, or where capitals begin.
fn fold<'a>(name: &[u8], buffer: &'a mut [u8; LONGEST]) -> (&'a [u8], usize) {
    let name = &name[name.len().saturating_sub(LONGEST)..];
    let (mut len, mut word, mut before) = (0, 0, b'_');
    for byte in name {
        if byte.is_ascii_alphanumeric() {
            let hump = byte.is_ascii_uppercase() && !before.is_ascii_uppercase();
            if hump || !before.is_ascii_alphanumeric() {
                word = len;
            }
            buffer[len] = byte.to_ascii_lowercase();
            len += 1;
        }
        before = *byte;
    }
    (&buffer[..len], word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_a_secret_and_names_that_do_not() {
        let names = Names::with(&["x-mine".into(), "pin1".into(), "_".into()]);
        for (name, expected) in [
            ("password", true),
            ("PASSWORD", true),
            ("user_password", true),
            ("newPassword2", true),
            ("user[password]", true),
            ("password[value]", true),
            ("token[]", true),
            ("Access-Token", true),
            ("accesstoken", true),
            ("refreshToken", true),
            ("clientSecret", true),
            ("DB_PASSWORD", true),
            ("DB_PASS", true),
            ("dbPass", true),
            ("pass", true),
            ("+token", true),
            (" to ken", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("X-Api-Key", true),
            ("Proxy-Authorization", true),
            ("Authorization\0", true),
            ("Set-Cookie", true),
            ("X-Mine", true),
            ("xmine", true),
            ("PIN1", true),
            ("_", true),
            ("pin", false),
            ("compass", false),
            ("max_tokens", false),
            ("secretary", false),
            ("design", false),
            ("Sec-WebSocket-Key", false),
            ("Content-Type", false),
            ("Connection", false),
            ("access_key_id", false),
            ("", false),
            ("-", false),
            ("123", false),
        ] {
            assert_eq!(names.mean_secret(name.as_bytes()), expected, "{name}");
        }
        let long = [&[b'x'; 1000][..], b"-token"].concat();
        assert!(names.mean_secret(&long));
    }
}
