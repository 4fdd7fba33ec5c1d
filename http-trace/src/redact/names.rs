//! Names that denote secrets: the same for header fields, URL parameters, JSON members, XML elements and
//! settings, in any case and with any separators. Looks at no value.

use std::sync::LazyLock;

/// How a name is compared with the table, after folding to lower-case letters and digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// Suffix: long enough not to be the end of another word.
    End,
    /// Last word, or whole name: matches `DB_PASS` and `dbPass`, not `compass`.
    Word,
    Whole,
    /// Suffix, for header fields only.
    Field,
    /// Suffix of names that are never redacted.
    Shown,
    /// Like [`Rule::Word`], for personal data, which is redacted only on request.
    Personal,
}

const NAMES: &[(Rule, &str)] = &[
    // Nonces of RFC 6455, cache tags, `Access-Control-Allow-Credentials`; keys of other kinds.
    (
        Rule::Shown,
        "allowcredentials cachekey foreignkey idempotencykey partitionkey persistentauth \
         primarykey publickey routingkey secwebsocketkey sortkey surrogatekey",
    ),
    (
        Rule::End,
        "2facode accesskey accountkey activationcode activationkey apikey appkey applicationkey assertion \
         authcode authentication authkey authorization authorizationcode authticket backupcode \
         captcharesponse clientkey codeverifier consumerkey contrasena cookie credential credentials csrf \
         dbpass devicecode encryptionkey hmackey idtokenhint invitecode jenkinscrumb kennwort licencekey \
         licensekey macaroon masterkey mfacode motdepasse nonce oauthverifier onetimecode otpcode \
         passcode passkey passphrase passwd password passwordconfirm passwordconfirmation passwordhash \
         passwords passwort pincode pinnumber privatekey pswd recoverycode samlart samlrequest samlresponse \
         secret secretid secretkey secretkeybase secrets securityanswer securitycode servicekey sessid \
         sessionid sessionkey sharedaccesssignature sharedkey signature signingkey ssoticket \
         storagekey subscriptionkey token turnstileresponse twofactorcode usercode userpass userpwd \
         verificationcode wachtwoord wskey xsrf",
    ),
    (
        Rule::Word,
        "auth bearer hmac jwt mfa otp pass pin psk pw pwd pword sess session sid sig totp",
    ),
    (Rule::Whole, "2fa clave key loginpwd mdp pat pgt pgtiou sas senha ticket tokens"),
    // Every gateway has a name of its own for its key.
    (Rule::Field, "key xibmclientid xhoneycombteam xjfrogartapi xmsclientprincipal"),
    (
        Rule::Personal,
        "card cardnumber creditcard cvc cvv dob email iban mail mobile phone phonenumber ssn tel \
         telephone",
    ),
];

/// Last words of fields whose values only look like tokens: identifiers, references, hashes.
static IDENTIFIERS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let words = "accept build checksum commit data debug digest fingerprint hash id id2 ids integrity \
                 key md5 parent ray ref revision sha1 sha256 span tag trace version";
    words.split(' ').collect()
});

/// Parameters that hold a token in some programs and an ordinary word or number in others.
const AMBIGUOUS: [&str; 15] = [
    "activation", "appid", "invite", "magic", "magic_link", "magiclink", "remember-me",
    "remember_me", "rememberme", "sharekey", "share_key", "stok", "tgt", "tok", "verify",
];

/// Longest name compared; of longer ones only the end is.
const LONGEST: usize = 96;

/// What the names apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamesOf {
    Fields,
    /// Names within any text.
    Texts,
}

/// The names that denote secrets, built-in and configured.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Applicable rows of the table by the name's last letter, in order.
    known: [Vec<(Rule, &'static str)>; 26],
    /// Configured names, as given and folded.
    own: Vec<(Vec<u8>, Vec<u8>)>,
    /// A bit for each pair of final letters of these names, which rules out most names quickly.
    last_two: [u32; 26],
    /// Length of the shortest name.
    shortest: usize,
}

impl Names {
    pub(super) fn with(of: NamesOf, personal: bool, own: &[String]) -> Self {
        let folded = |name: &String| {
            let mut buffer = [0; LONGEST];
            let (folded, _) = fold(name.as_bytes(), &mut buffer);
            (name.as_bytes().to_vec(), folded.to_vec())
        };
        let applies = |rule: Rule| match rule {
            Rule::Field => of == NamesOf::Fields,
            Rule::Personal => personal,
            Rule::Shown | Rule::End | Rule::Word | Rule::Whole => true,
        };
        let rows = NAMES.iter().filter(|(rule, _)| applies(*rule));
        let known = rows.flat_map(|(rule, names)| names.split(' ').map(|name| (*rule, name)));
        let known: Vec<_> = known.collect();
        let own: Vec<_> = own.iter().map(folded).collect();
        let given = own.iter().flat_map(|(raw, folded)| [&raw[..], folded]);
        let all: Vec<&[u8]> = known.iter().map(|(_, name)| name.as_bytes()).chain(given).collect();
        let mut last_two = [0; 26];
        for (row, bit) in all.iter().filter_map(|name| last_letters(name)) {
            last_two[row] |= bit;
        }
        let ends_with = |last: usize| {
            let known = known.iter().copied();
            known.filter(move |(_, name)| last_letter(name.as_bytes()) == Some(last))
        };
        Names {
            shortest: all.iter().map(|name| name.len()).min().unwrap_or(0),
            last_two,
            known: std::array::from_fn(|last| ends_with(last).collect()),
            own,
        }
    }

    /// Whether a value with this name is a secret. Percent-encoding must have been undone.
    pub(super) fn mean_secret(&self, name: &[u8]) -> bool {
        if name.len() < self.shortest {
            return false;
        }
        if let Some((row, bit)) = last_letters(name)
            && self.last_two[row] & bit == 0
        {
            return false;
        }
        // For example 09:00:00 in a date.
        if self.own.is_empty() && name.iter().all(u8::is_ascii_digit) {
            return false;
        }
        // token[value], user[password]: the latter folds to a name with the right suffix.
        let outer = memchr::memchr(b'[', name).map(|at| &name[..at]);
        [Some(name), outer].into_iter().flatten().any(|name| self.mean_secret_as_is(name))
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
        let numbered = folded;
        let folded = &folded[..end.map_or(0, |at| at + 1)];
        let word = folded.get(last_word..).unwrap_or_default();
        let is = |rule: Rule, known: &str| match rule {
            Rule::End | Rule::Field | Rule::Shown => folded.ends_with(known.as_bytes()),
            Rule::Word | Rule::Personal => word == known.as_bytes() || folded == known.as_bytes(),
            Rule::Whole => numbered == known.as_bytes(),
        };
        let Some(last) = last_letter(folded) else {
            return false;
        };
        // Exceptions come first.
        let known = self.known[last].iter().find(|(rule, known)| is(*rule, known));
        known.is_some_and(|(rule, _)| *rule != Rule::Shown)
    }
}

/// Whether a field of this name may hold an identifier or a hash, which is no secret.
pub(super) fn is_identifier(name: &[u8]) -> bool {
    let mut buffer = [0; LONGEST];
    let (folded, _) = fold(name, &mut buffer);
    IDENTIFIERS.iter().any(|word| folded.ends_with(word.as_bytes()))
}

/// Whether a value of this name is a secret if it looks like a token.
pub(super) fn is_ambiguous(name: &[u8]) -> bool {
    AMBIGUOUS.iter().any(|word| word.as_bytes().eq_ignore_ascii_case(name))
}

/// Number of a name's last byte, if it is a letter. That of every name in the table is.
fn last_letter(name: &[u8]) -> Option<usize> {
    let last = name.last().filter(|last| last.is_ascii_lowercase())?;
    Some(usize::from(last - b'a'))
}

/// Index and bit of a name's last two bytes, if both are letters.
fn last_letters(name: &[u8]) -> Option<(usize, u32)> {
    let letter = |b: u8| b.is_ascii_alphabetic().then(|| b.to_ascii_lowercase() - b'a');
    let [first, second] = *name.last_chunk()?;
    Some((usize::from(letter(first)?), 1 << letter(second)?))
}

/// Folds a name to lower-case letters and digits; also returns the start of its last word, which follows a
/// separator or begins with a capital.
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
        let names =
            Names::with(NamesOf::Texts, false, &["x-mine".into(), "pan1".into(), "_".into()]);
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
            ("PAN1", true),
            ("_", true),
            ("pan", false),
            ("pin", true),
            ("spin", false),
            ("key", true),
            ("key1", false),
            ("X-Custom-Key", false),
            ("Surrogate-Key", false),
            ("oauth_nonce", true),
            ("author", false),
            ("email", false),
            ("compass", false),
            ("max_tokens", false),
            ("secretary", false),
            ("design", false),
            ("Sec-WebSocket-Key", false),
            ("Content-Type", false),
            ("Connection", false),
            ("access_key_id", false),
            ("Grpc-Metadata-Macaroon", true),
            ("X-2FA-Code", true),
            ("Jenkins-Crumb", true),
            ("dbpass", true),
            ("breadcrumb", false),
            ("stock", false),
            ("license", false),
            ("hash", false),
            ("", false),
            ("-", false),
            ("123", false),
        ] {
            assert_eq!(names.mean_secret(name.as_bytes()), expected, "{name}");
        }
        let fields = Names::with(NamesOf::Fields, true, &[]);
        for (name, expected) in [
            ("X-Custom-Key", true),
            ("X-RapidAPI-Key", true),
            ("Ocp-Apim-Subscription-Key", true),
            ("Sec-WebSocket-Key", false),
            ("Idempotency-Key", false),
            ("X-Email", true),
            ("X-Ms-Client-Principal", true),
            ("X-Ms-Client-Principal-Name", false),
            ("X-Discard", false),
        ] {
            assert_eq!(fields.mean_secret(name.as_bytes()), expected, "{name}");
        }
        let long = [&[b'x'; 1000][..], b"-token"].concat();
        assert!(names.mean_secret(&long));
    }
}
