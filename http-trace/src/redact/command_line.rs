//! Secrets on command lines: values of options, assignments and header fields with a name that denotes a
//! secret, and shapes in any word.

use super::context::Context;
use super::{Secrets, redacted};

/// Options of well-known programs whose value is `user:password`.
const USER_AND_PASSWORD: [&[u8]; 4] = [b"-u", b"--user", b"-U", b"--proxy-user"];
/// Programs whose option `-p` is followed by a password in the same word.
const PASSWORD_AFTER_P: [&[u8]; 3] = [b"mysql", b"mariadb", b"sshpass"];

impl Secrets {
    /// Joins the words, quoting those that contain spaces.
    pub fn command_line(&self, words: &[&[u8]]) -> String {
        let program = words.first().copied().unwrap_or_default();
        let program = program.rsplit(|b| *b == b'/').next().unwrap_or_default();
        let of_p = PASSWORD_AFTER_P.iter().any(|name| program.starts_with(name));
        let mut before: &[u8] = b"";
        let words = words.iter().map(|word| {
            let clean = self.word(before, word, of_p);
            before = word;
            String::from_utf8_lossy(&clean).into_owned()
        });
        let words: Vec<String> = words.collect();
        // Words cannot contain NUL.
        shell_words::join(&words)
    }

    fn word(&self, before: &[u8], word: &[u8], of_p: bool) -> Vec<u8> {
        let is_option = word.starts_with(b"-");
        let option = before.trim_ascii_start();
        if option.starts_with(b"-") && !is_option && !option.contains(&b'=') {
            let is_secret = self.within.mean_secret(without_dashes(option));
            let is_user = USER_AND_PASSWORD.contains(&option) && word.contains(&b':');
            if is_secret || is_user {
                return redacted(word);
            }
        }
        if of_p && word.len() > 2 && word.starts_with(b"-p") {
            return [b"-p", &redacted(&word[2..])[..]].concat();
        }
        for separator in [b'=', b':'] {
            let Some(at) = word.iter().position(|byte| *byte == separator) else {
                continue;
            };
            let (name, value) = (&word[..at], word[at + 1..].trim_ascii_start());
            let name_end = word.len() - value.len();
            let name = without_dashes(name);
            let names = [&self.within, &self.headers];
            if !value.is_empty() && names.iter().any(|names| names.mean_secret(name)) {
                return [&word[..name_end], &redacted(value)[..]].concat();
            }
        }
        let clean = self.clean(word, &Context::TEXT);
        let clean = clean.unwrap_or_else(|| word.to_vec());
        let of_url = self.clean(&clean, &Context::URL);
        match clean.windows(3).any(|three| three == b"://") {
            true => of_url.unwrap_or(clean),
            false => clean,
        }
    }
}

fn without_dashes(option: &[u8]) -> &[u8] {
    let dashes = option.iter().take_while(|byte| **byte == b'-').count();
    &option[dashes..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_names_are_taken_out_of_command_lines() {
        let secrets = Secrets::default();
        for (typed, secret) in [
            ("server --port 8080 --password hunter22", "hunter22"),
            ("server --db-password=hunter22 -v", "hunter22"),
            ("server -token hunter22", "hunter22"),
            ("env PGPASSWORD=hunter22 psql", "hunter22"),
            ("env API_KEY=hunter22 app", "hunter22"),
            ("curl -u alice:hunter22 http://a/", "hunter22"),
            ("curl --user alice:hunter22 http://a/", "hunter22"),
            ("curl http://alice:hunter22@a/", "hunter22"),
            ("curl http://a/?access_token=hunter22", "hunter22"),
            ("curl -H|Authorization: Basic aHVudGVyMjI=|http://a/", "aHVudGVyMjI"),
            ("curl -H|X-Api-Key: hunter22", "hunter22"),
            ("mysql -phunter22 db", "hunter22"),
            ("/usr/bin/sshpass -phunter22 ssh a", "hunter22"),
            ("java -Ddb.password=hunter22 -jar a.jar", "hunter22"),
        ] {
            let separator = if typed.contains('|') { '|' } else { ' ' };
            let words: Vec<&[u8]> = typed.split([separator, ' ']).map(str::as_bytes).collect();
            let words = match separator {
                '|' => typed.split('|').map(str::as_bytes).collect(),
                _ => words,
            };
            let shown = secrets.command_line(&words);
            assert!(!shown.contains(secret), "{shown}");
            assert!(shown.contains("REDACTED") || shown.contains("redacted"), "{shown}");
        }
    }

    #[test]
    fn the_rest_stays_as_it_was() {
        let secrets = Secrets::default();
        for (words, shown) in [
            (&["nginx: worker process"][..], "'nginx: worker process'"),
            (&["python3", "-m", "http.server", "8080"], "python3 -m http.server 8080"),
            (&["sleep", "5"], "sleep 5"),
            (
                &["app", "--user", "www", "--password-file", "/run/p"],
                "app --user www --password-file /run/p",
            ),
            (&["app", "--config=/etc/app.toml"], "app '--config=/etc/app.toml'"),
            (&[][..], ""),
        ] {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            assert_eq!(secrets.command_line(&words), shown);
        }
    }
}
