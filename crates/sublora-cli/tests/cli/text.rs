//! Text that every machine agrees on.

use std::fmt::Write as _;
use std::num::NonZeroU64;

use counter_rng::Key;

const WORDS: [&[&str]; 4] = [
    &["the bound", "a model", "the decoder", "one seed", "every certificate", "the base"],
    &["pays for", "describes", "refuses", "predicts", "needs", "repeats"],
    &["the next token", "its own length", "a short code", "the held-out text", "no luck"],
    &[".", ".", ", and so it is.", " again."],
];

/// JSON Lines: a document of a dozen sentences a line, each sentence one of 720.
pub(crate) fn json_lines(documents: u64) -> String {
    let mut lines = String::new();
    for document in 0..documents {
        let mut draws = Key::from_seed(41).derive("text").index(document).words(0);
        let mut one = |from: &[&'static str]| {
            let index = draws.below(NonZeroU64::new(from.len() as u64).unwrap());
            from[usize::try_from(index).unwrap()]
        };
        let mut sentence = || {
            let [subject, verb, object, end] = WORDS.map(&mut one);
            format!("{subject} {verb} {object}{end}")
        };
        let sentences: Vec<String> = (0..12).map(|_| sentence()).collect();
        writeln!(lines, r#"{{"text": "{}"}}"#, sentences.join(" ")).unwrap();
    }
    lines
}
