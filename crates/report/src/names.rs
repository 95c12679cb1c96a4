//! Names that are too long for their place: those of one list are shortened together, so that what
//! tells them apart stays.

use std::collections::HashSet;

/// What ends a part of a name.
const SEPARATORS: [char; 8] = ['.', '/', '_', '-', ':', ',', '=', ' '];

const ELLIPSIS: &str = "…";

/// What of a name that is cut stays.
#[derive(Clone, Copy)]
enum Kept {
    Ends,
    Start,
    End,
}

/// `text` without what XML cannot hold.
pub(crate) fn clean(text: &str) -> String {
    let is_allowed = |it: char| !it.is_control() && !('\u{fffe}'..='\u{ffff}').contains(&it);
    text.chars().map(|it| if is_allowed(it) { it } else { '\u{fffd}' }).collect()
}

/// `text` in pieces, each of which ends where a line may be broken.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(SEPARATORS)
}

/// `names`, none of which measures more than `limit`, with an ellipsis for what is left out. If all fit,
/// all stay as they are. If not, those that do not lose, until they fit: the parts at the start that all
/// of them share, those at the end, those in between; what is still too long is cut, in the middle unless
/// that would make two names the same.
pub(crate) fn shorten_all<S: AsRef<str>>(
    names: &[S],
    limit: f64,
    measure: impl Fn(&str) -> f64,
) -> Vec<String> {
    let full: Vec<String> = names.iter().map(|it| clean(it.as_ref())).collect();
    let fits = |text: &str| measure(text) <= limit;
    if full.iter().all(|it| fits(it)) {
        return full;
    }
    let mut parts: Vec<Vec<&str>> = full.iter().map(|it| pieces(it).collect()).collect();
    let are_long = |it: &Vec<&str>| !fits(&it.concat());
    drop_start(&mut parts, &are_long);
    turn(&mut parts);
    drop_start(&mut parts, &|it| are_long(&it.iter().rev().copied().collect()));
    turn(&mut parts);
    drop_between(&mut parts, &are_long);
    let shortened: Vec<String> = parts.iter().map(|it| it.concat()).collect();
    let cut = |kept| -> Vec<String> {
        shortened.iter().map(|it| cut(it, kept, limit, &measure)).collect()
    };
    let [ends, start, end] = [Kept::Ends, Kept::Start, Kept::End].map(cut);
    let count = |names: &[String]| names.iter().collect::<HashSet<_>>().len();
    [start, end]
        .into_iter()
        .fold(ends, |best, it| if count(&it) > count(&best) { it } else { best })
}

/// `text` alone: if it measures more than `limit`, its middle is left out.
pub(crate) fn shorten(text: &str, limit: f64, measure: impl Fn(&str) -> f64) -> String {
    shorten_all(&[text], limit, measure).pop().unwrap_or_default()
}

/// Of the names that begin like a long one, drops parts at the start that all of them share, until none
/// is long, or only one part is left of one.
fn drop_start(names: &mut [Vec<&str>], is_long: &impl Fn(&Vec<&str>) -> bool) {
    let long = names.iter().filter(|it| is_long(it));
    let starts: HashSet<_> = long.filter_map(|it| it.first().copied()).collect();
    let is_family = |it: &&mut Vec<&str>| it.first().is_some_and(|it| starts.contains(it));
    let mut family: Vec<_> = names.iter_mut().filter(is_family).collect();
    let Some(first) = family.first().map(|it| (*it).clone()) else { return };
    if family.iter().all(|it| **it == first) {
        return; // a name alone shares nothing
    }
    let left = |it: &Vec<&str>| it.iter().filter(|part| **part != ELLIPSIS).count();
    let most = family.iter().map(|it| left(it)).min().unwrap_or(0).saturating_sub(1);
    let is_shared = |&at: &usize| family.iter().all(|it| it[at] == first[at]);
    for _ in 0..(0..most).take_while(is_shared).count() {
        if !family.iter().any(|it| is_long(it)) {
            return;
        }
        for name in &mut family {
            let dropped = if name[0] == ELLIPSIS { 2 } else { 1 };
            name.splice(..dropped, [ELLIPSIS]);
        }
    }
}

/// Turns the parts of each name round.
fn turn(names: &mut [Vec<&str>]) {
    for name in names {
        name.reverse();
    }
}

/// Drops all other parts that the long ones share; only where these have as many parts, so that it is
/// clear which are the same.
fn drop_between(names: &mut [Vec<&str>], is_long: &impl Fn(&Vec<&str>) -> bool) {
    let long: Vec<Vec<&str>> = names.iter().filter(|it| is_long(it)).cloned().collect();
    let Some(first) = long.first() else { return };
    let is_like = |it: &&mut Vec<&str>| it.len() == first.len();
    if long.iter().any(|it| it.len() != first.len()) || long.iter().all(|it| it == first) {
        return;
    }
    let is_shared = |&at: &usize| long.iter().all(|it| it[at] == first[at]);
    let shared: Vec<usize> = (0..first.len()).filter(is_shared).collect();
    for name in names.iter_mut().filter(is_like) {
        if shared.iter().all(|&at| name[at] == first[at]) {
            for &at in &shared {
                name[at] = ELLIPSIS;
            }
            name.dedup_by(|a, b| *a == ELLIPSIS && *b == ELLIPSIS);
        }
    }
}

/// `text` with an ellipsis for as many characters as have to go.
fn cut(text: &str, kept: Kept, limit: f64, measure: impl Fn(&str) -> f64) -> String {
    if measure(text) <= limit {
        return text.to_owned();
    }
    let characters: Vec<char> = text.chars().collect();
    let of_length = |length: usize| {
        let head = match kept {
            Kept::Ends => length / 2,
            Kept::Start => length,
            Kept::End => 0,
        };
        let tail = &characters[characters.len() - (length - head)..];
        characters[..head].iter().chain(&['…']).chain(tail).collect::<String>()
    };
    let (mut fits, mut exceeds) = (0, characters.len());
    while exceeds - fits > 1 {
        let middle = usize::midpoint(fits, exceeds);
        if measure(&of_length(middle)) <= limit {
            fits = middle;
        } else {
            exceeds = middle;
        }
    }
    of_length(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(names: &[&str], limit: u32) -> Vec<String> {
        shorten_all(names, f64::from(limit), |it| it.chars().count() as f64)
    }

    #[test]
    fn a_name_alone_loses_its_middle() {
        assert_eq!(short(&["h.0.attn"], 8), ["h.0.attn"]);
        assert_eq!(short(&["transformer.h.0.attn"], 11), ["trans….attn"]);
        assert_eq!(short(&["äöü"], 2), ["…ü"]);
        assert_eq!(short(&["abc"], 0), ["…"]);
        assert_eq!(short(&[""], 0), [""]);
        assert_eq!(short(&["a\u{0}\nb\u{ffff}"], 9), ["a\u{fffd}\u{fffd}b\u{fffd}"]);
    }

    #[test]
    fn names_of_a_list_lose_what_they_share_and_keep_what_tells_them_apart() {
        let names = ["transformer.h.0.attn.c_attn.weight", "transformer.h.11.attn.c_attn.weight"];
        assert_eq!(short(&names, 35), names);
        assert_eq!(short(&names, 34), ["…h.0.attn.c_attn.weight", "…h.11.attn.c_attn.weight"]);
        assert_eq!(short(&names, 23), ["…0.attn.c_attn.weight", "…11.attn.c_attn.weight"]);
        assert_eq!(short(&names, 17), ["…0.attn.c_attn.…", "…11.attn.c_attn.…"]);
        assert_eq!(short(&names, 9), ["…0.…", "…11.…"]);
        // No name is left out whole.
        let names = ["transformer.weight", "transformer.h.0.weight"];
        assert_eq!(short(&names, 14), ["…weight", "…h.0.weight"]);
        let names = ["model.a.mlp.in.x.weight", "model.b.mlp.in.y.weight"];
        assert_eq!(short(&names, 12), ["…a.…x.…", "…b.…y.…"]);
    }

    #[test]
    fn a_name_of_another_kind_does_not_keep_the_others_long() {
        let names = ["misc", "transformer.h.0.weight", "transformer.h.1.weight"];
        assert_eq!(short(&names, 12), ["misc", "…h.0.weight", "…h.1.weight"]);
        // One that would fit is shortened like those that do not.
        let names =
            ["transformer.h.9.weight", "transformer.h.10.weight", "transformer.h.11.weight"];
        assert_eq!(short(&names, 22), ["…h.9.weight", "…h.10.weight", "…h.11.weight"]);
    }

    #[test]
    fn what_is_cut_stays_distinct_where_it_can() {
        // The middle, where they differ, would be the first to go.
        assert_eq!(
            short(&["aaaaaaaa1bbbbbbbbbbb", "aaaaaaaa2bbbbbbbbbbb"], 10),
            ["aaaaaaaa1…", "aaaaaaaa2…"]
        );
        assert_eq!(
            short(&["aaaaaaaaaaa1bbbbbbbb", "aaaaaaaaaaa2bbbbbbbb"], 10),
            ["…1bbbbbbbb", "…2bbbbbbbb"]
        );
    }
}
