//! The command `bans`: lists and lifts bans that a run with `--ban` has added to a set.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::json;

use super::exit::{Ended, say};
use crate::ban::nft::{Element, Set};
use crate::cli::{BanPlace, Bans};
use crate::config::Config;
use http_trace_model::shown::span;

/// Runs the command; its output is appended to `out`.
pub fn run(command: &Bans, out: &mut String) -> Result<Ended, String> {
    match command {
        Bans::List { place, json } => list(place, *json, out),
        Bans::Lift { place, clients, all } => lift(place, clients, *all, out),
    }
}

fn list(place: &BanPlace, json: bool, out: &mut String) -> Result<Ended, String> {
    let set = set(place)?;
    let mut elements = set.list()?;
    elements.sort_by_key(|element| (element.left, element.client));
    if elements.is_empty() && !json {
        say(&format!("no client is banned in {set}"));
    }
    for element in &elements {
        match json {
            true => {
                let _ = writeln!(
                    out,
                    "{}",
                    json!({"client": element.client, "seconds_left": element.left.map(|left| left.as_secs()),
                           "rule": element.comment})
                );
            }
            false => line(element, out),
        }
    }
    Ok(Ended::Done)
}

fn line(element: &Element, out: &mut String) {
    let left = element.left.map(|left| span(left.as_secs()));
    let left = left.unwrap_or_else(|| "never".to_owned());
    let rule = element.comment.as_deref().unwrap_or_default();
    let line = format!("{:<39}  {left:>9}  {rule}", element.client);
    let _ = writeln!(out, "{}", line.trim_end());
}

fn lift(
    place: &BanPlace,
    clients: &[IpAddr],
    all: bool,
    out: &mut String,
) -> Result<Ended, String> {
    if clients.is_empty() && !all {
        return Err("no client given: name addresses, or lift all bans with --all".to_owned());
    }
    let set = set(place)?;
    let there: Vec<IpAddr> = set.list()?.iter().map(|element| element.client).collect();
    let (banned, others): (Vec<IpAddr>, Vec<IpAddr>) = match all {
        true => (there, Vec::new()),
        false => clients.iter().partition(|client| there.contains(client)),
    };
    if all && banned.is_empty() {
        say(&format!("no client is banned in {set}"));
    }
    set.lift(&banned)?;
    for client in &banned {
        let _ = writeln!(out, "{client} lifted");
    }
    for client in &others {
        say(&format!("{client} is not banned in {set}"));
    }
    Ok(if others.is_empty() { Ended::Done } else { Ended::Lossy })
}

fn set(place: &BanPlace) -> Result<Set, String> {
    let typed = place.ban.iter().map(|set| ("ban", vec![set.clone()]));
    let config = Config::load(typed.collect(), place.config.as_deref())?;
    config.ban.ok_or_else(|| {
        "no set given: want --ban nft:TABLE/SET, or --config FILE of the run".to_owned()
    })
}
