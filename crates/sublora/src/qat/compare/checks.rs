//! Whether runs can be compared at all.

use std::collections::BTreeMap;
use std::fmt;

use super::runs::ComparedRun;
use crate::Error;

/// Held-out text, and how it was scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) stride: u64,
    pub(super) context: u64,
    pub(super) documents: u64,
    pub(super) tokens: u64,
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stride, context, documents, tokens } = self;
        write!(f, "{tokens} tokens of {documents} documents, context {context}, stride {stride}")
    }
}

/// Settings in which runs of one label may differ.
const FREE: [&str; 3] = ["base.path", "evaluate.batch", "evaluate.shards"];

/// What all of `runs` were evaluated on.
///
/// # Errors
/// The first two that differ in their text, in their base with the same seed, or in their settings with
/// the same label; a seed that a label has twice; nothing that was evaluated.
pub(super) fn check(runs: &[ComparedRun]) -> Result<Vec<Text>, Error> {
    let mut seen = BTreeMap::new();
    let mut bases = BTreeMap::new();
    let mut labels = BTreeMap::new();
    let mut methods = BTreeMap::new();
    let Some(first) = runs.first() else { return Ok(Vec::new()) };
    for run in runs {
        let refuse = |other: &ComparedRun, difference: String| {
            let (run, other) = (run.folder.display(), other.folder.display());
            Err(Error::Mismatch(format!("`{other}` and `{run}` cannot be compared: {difference}")))
        };
        if run.record.corpus != first.record.corpus {
            let (ours, theirs) = (run.record.corpus, first.record.corpus);
            return refuse(first, format!("their corpora are {theirs} and {ours}"));
        }
        if texts(run) != texts(first) {
            let difference =
                format!("evaluated on {} and on {}", told(&texts(first)), told(&texts(run)));
            return refuse(first, difference);
        }
        let other = *bases.entry(run.seed()).or_insert(run);
        if other.record.base != run.record.base {
            let hash = |it: &ComparedRun| {
                it.record.base.map_or_else(|| "a random one".to_owned(), |it| it.to_string())
            };
            let (seed, theirs, ours) = (run.seed(), hash(other), hash(run));
            return refuse(other, format!("their bases of seed {seed} are {theirs} and {ours}"));
        }
        let other = *labels.entry(run.label.as_str()).or_insert(run);
        if let Some(difference) = other_setting(other, run) {
            return refuse(other, format!("both are “{}”, but {difference}", run.label));
        }
        let (name, only) = run.method();
        let other = *methods.entry(name).or_insert(run);
        if other.method().1.is_some() != only.is_some() {
            let difference = format!("“{}” and “{}” would be one method", other.label, run.label);
            return refuse(other, difference);
        }
        if let Some(other) = seen.insert((run.label.as_str(), run.seed()), run) {
            return refuse(other, format!("both are “{}” with seed {}", run.label, run.seed()));
        }
    }
    let texts = texts(first);
    if texts.is_empty() {
        return Err(Error::Unfinished { folder: first.folder.clone(), what: "evaluated width" });
    }
    Ok(texts)
}

/// What a run was evaluated on, stride by stride.
fn texts(run: &ComparedRun) -> Vec<Text> {
    let mut texts = Vec::new();
    for it in &run.record.widths {
        let (stride, context, documents, tokens) = (it.stride, it.context, it.documents, it.tokens);
        let text = Text { stride, context, documents, tokens };
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

fn told(texts: &[Text]) -> String {
    match texts {
        [] => "nothing".to_owned(),
        _ => texts.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// The first setting in which `a` and `b` differ and should not.
fn other_setting(a: &ComparedRun, b: &ComparedRun) -> Option<String> {
    let is_free = |key: &str| key.rsplit('.').next() == Some("seed") || FREE.contains(&key);
    let keys = a.settings.keys().chain(b.settings.keys());
    let key =
        keys.filter(|it| !is_free(it)).find(|it| a.settings.get(*it) != b.settings.get(*it))?;
    let shown = |of: &ComparedRun| of.settings.get(key).map_or("absent", String::as_str).to_owned();
    Some(format!("`{key}` is {} and {}", shown(a), shown(b)))
}
