//! Ended anywhere, and gone on with.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Mutex;

use super::*;
use crate::Progress;

/// Listens for a while and then asks for an end.
#[derive(Default)]
struct Impatient(Mutex<Heard>);

#[derive(Default)]
struct Heard {
    /// Answers before the end.
    patience: u64,
    total: u64,
    /// How far it was at last.
    done: u64,
    /// How often each matrix was asked about.
    asked: BTreeMap<String, u64>,
}

impl Impatient {
    fn of(patience: u64) -> Self {
        Self(Mutex::new(Heard { patience, ..Heard::default() }))
    }

    fn heard(self) -> Heard {
        self.0.into_inner().unwrap()
    }
}

impl Progress for Impatient {
    fn begin(&self, _task: &str, _unit: &'static str, total: u64) {
        self.0.lock().unwrap().total = total;
    }

    fn update(&self, done: u64, note: &str) -> ControlFlow<()> {
        let mut heard = self.0.lock().unwrap();
        heard.done = heard.done.max(done);
        *heard.asked.entry(note.to_owned()).or_default() += 1;
        if heard.patience == 0 {
            return ControlFlow::Break(());
        }
        heard.patience -= 1;
        ControlFlow::Continue(())
    }

    fn end(&self) {
        self.0.lock().unwrap().asked.remove(""); // the last word is about none
    }
}

#[test]
fn an_interrupted_analysis_goes_on_where_it_was_and_ends_with_the_same_bytes() {
    let (folder, path) = checkpoint(&[
        random("wte.weight", &[60, 24]),
        random("h.0.attn.c_attn.weight", &[24, 72]),
        random("h.1.attn.c_attn.weight", &[24, 72]),
        random("conv.weight", &[16, 12, 3, 3]),
        random("experts.weight", &[2, 24, 12]),
    ]);
    let study = SpectralStudy { widths: vec![BitWidth::new(4).unwrap()], ..quick() };
    let whole = written(&study.run(&path, None, &()).unwrap(), &folder.path().join("whole"));
    let cache = folder.path().join("cache");
    let mut interruptions = 0;
    let report = loop {
        let kept = fs::read_dir(&cache).map_or(0, Iterator::count);
        let listener = Impatient::of(90);
        let report = study.run(&path, Some(&cache), &listener);
        let Heard { total, done, asked, .. } = listener.heard();
        match report {
            Ok(report) => {
                // Before it is looked up; what is computed is asked about again and again.
                let found = asked.values().filter(|&&it| it == 1).count();
                assert_eq!((found, asked.len()), (kept, 6), "{asked:?}");
                assert_eq!(done, total);
                break report;
            }
            Err(SpectralError::Interrupted) => assert!(done < total),
            Err(error) => panic!("{error}"),
        }
        interruptions += 1;
        assert!(interruptions < 100, "it never ends");
    };
    assert!(interruptions >= 2, "{interruptions}");
    assert_eq!(written(&report, &folder.path().join("parts")), whole);
}

#[test]
fn an_end_is_heard_between_two_replicates() {
    let (folder, path) = checkpoint(&[random("h.0.attn.c_attn.weight", &[24, 72])]);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let asked = |study: &SpectralStudy, patience: u64| {
        let listener = Impatient::of(patience);
        let ended = alone.install(|| study.run(&path, Some(folder.path()), &listener));
        assert!(matches!(ended, Err(SpectralError::Interrupted)) == (patience < u64::MAX));
        listener.heard().asked.values().sum::<u64>()
    };
    let study = SpectralStudy { widths: vec![BitWidth::new(4).unwrap()], ..quick() };
    let all = asked(&study, u64::MAX);
    assert!(all > 40, "{all}: 20 replicates of either fit, 3 of the noise");
    let other = SpectralStudy { seed: 1, ..study }; // not what was kept
    for patience in 0..all {
        assert_eq!(asked(&other, patience), patience + 1, "no question after the answer");
    }
}
