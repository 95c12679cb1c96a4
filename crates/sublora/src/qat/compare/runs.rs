//! What of a run is compared.

use std::collections::BTreeMap;
use std::f64::consts::LN_2;
use std::path::{Path, PathBuf};

use quantizers::BitWidth;

use crate::Error;
use crate::metrics::{self, Recorded};
use crate::qat::config::QatConfig;
use crate::qat::method::Plan;
use crate::qat::record::{QatRecord, WidthRecord};
use crate::qat::run::QatRun;

/// A run that is over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ComparedRun {
    /// What is compared; runs that differ in their seed share it.
    pub(super) label: String,
    /// Where it is, for messages.
    pub(super) folder: PathBuf,
    /// By dotted key.
    pub(super) settings: BTreeMap<String, String>,
    /// What came of it.
    pub(super) record: QatRecord,
    /// Of its training, if there was one.
    pub(super) steps: Vec<StepPoint>,
    /// Its evaluations while it was trained, by width.
    pub(super) held_out: BTreeMap<u8, Vec<(u64, f64)>>,
}

/// A step of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct StepPoint {
    /// Counted from 1.
    pub(super) step: u64,
    /// What it learned at; none if at several widths.
    pub(super) bits: Option<BitWidth>,
    /// Loss before it, in nats per token.
    pub(super) nats: f64,
}

impl ComparedRun {
    /// The run in `folder`.
    ///
    /// # Errors
    /// [`Error::Unfinished`] of one that is not over, or files that are not as they were written.
    pub(super) fn read(label: String, folder: &Path) -> Result<Self, Error> {
        let record = QatRecord::read(folder)?;
        let config = QatRun::read_config(folder, &[])?;
        let table = toml::Value::try_from(&config).map_err(|error| Error::config(&error))?;
        let mut settings = BTreeMap::new();
        flatten("", &table, &mut settings);
        let mut run = Self {
            label,
            folder: folder.to_owned(),
            settings,
            record,
            steps: Vec::new(),
            held_out: BTreeMap::new(),
        };
        if let Some(plan) = config.method.as_dyn().plan(&config)? {
            run.trace(plan.as_ref(), metrics::read(&folder.join("train"))?, &config);
        }
        Ok(run)
    }

    /// Takes what is of use here from the metrics of the training.
    fn trace(&mut self, plan: &dyn Plan, metrics: Vec<Recorded>, config: &QatConfig) {
        for Recorded { step, values } in metrics {
            let nats = |name: &str| Some(LN_2 * (*values.get(name)?)?);
            if let Some(nats) = nats("train/bits_per_token") {
                let visits = plan.visits(step.saturating_sub(1));
                let mut learned = visits.iter().filter(|it| it.learns()).map(|it| it.bits);
                let bits = learned.next().filter(|_| learned.next().is_none());
                self.steps.push(StepPoint { step, bits, nats });
            }
            for bits in &config.widths {
                if let Some(nats) = nats(&format!("held_out/bits_per_token_at_{bits}")) {
                    self.held_out.entry(bits.get()).or_default().push((step, nats));
                }
            }
        }
    }

    /// The name of its method, and the width at which alone it stands for it: that in its label, if that
    /// is what it was trained at.
    pub(super) fn method(&self) -> (&str, Option<BitWidth>) {
        let of_family = || {
            let (family, bits) = self.label.rsplit_once('-')?;
            let bits = BitWidth::new(bits.parse().ok()?).ok()?;
            self.passes().eq([bits.get()]).then_some((family, Some(bits)))
        };
        of_family().unwrap_or((&self.label, None))
    }

    /// The widths at which it learned something.
    pub(super) fn passes(&self) -> impl Iterator<Item = u8> {
        self.record.training.iter().flat_map(|it| it.passes.keys().copied())
    }

    /// Of the run.
    pub(super) fn seed(&self) -> u64 {
        self.record.seed
    }

    /// What it gave at a width, if it stands for its method there.
    pub(super) fn at(&self, bits: BitWidth, stride: u64) -> Option<&WidthRecord> {
        if self.method().1.is_some_and(|only| only != bits) {
            return None;
        }
        self.record.widths.iter().find(|it| it.bits == bits && it.stride == stride)
    }

    /// BitOPs of its training; none of one without.
    pub(super) fn training_bit_ops(&self) -> Option<f64> {
        self.record.training.as_ref().map(|it| it.bit_ops)
    }
}

/// The leaves of `value` as TOML, by dotted key.
fn flatten(key: &str, value: &toml::Value, leaves: &mut BTreeMap<String, String>) {
    if let toml::Value::Table(table) = value {
        for (name, value) in table {
            let name = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
            flatten(&name, value, leaves);
        }
    } else {
        leaves.insert(key.to_owned(), value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use corpus::Sha256Hash;

    use super::*;

    const METRICS: &str = r#"{"step":1,"train/bits_per_token":2.0,"learning_rate":0.01}
{"step":2,"train/bits_per_token":1.0,"learning_rate":0.01}
{"step":2,"held_out/bits_per_token":3.0,"held_out/bits_per_token_at_2":4.0,"held_out/bits_per_token_at_4":2.0}
{"step":3,"train/bits_per_token":null}
"#;

    fn read(method: &str) -> ComparedRun {
        let dir = tempfile::tempdir().unwrap();
        let config = format!("seed = 5\nwidths = [2, 4]\nmethod = {method}\n[train]\nsteps = 3\n");
        fs::write(dir.path().join("qat.toml"), config).unwrap();
        fs::create_dir(dir.path().join("train")).unwrap();
        fs::write(dir.path().join("train/metrics.jsonl"), METRICS).unwrap();
        let unfinished = ComparedRun::read("a".to_owned(), dir.path());
        assert!(matches!(unfinished, Err(Error::Unfinished { .. })));
        let (version, method) = (QatRecord::VERSION, String::new());
        let (corpus, widths) = (Sha256Hash([0; 32]), Vec::new());
        let record =
            QatRecord { version, method, seed: 5, corpus, base: None, training: None, widths };
        record.write(dir.path()).unwrap();
        ComparedRun::read("a".to_owned(), dir.path()).unwrap()
    }

    #[test]
    fn metrics_become_steps_at_the_widths_of_the_plan() {
        let run = read(
            r#"{ kind = "cyclic", precision = { widths = [2, 4], schedule = { kind = "table", bits = [4, 2, 2] } } }"#,
        );
        let [two, four] = [2, 4].map(|bits| BitWidth::new(bits).ok());
        // The first step is number 1 in the metrics and number 0 of the plan.
        let expected = [
            StepPoint { step: 1, bits: four, nats: 2.0 * LN_2 },
            StepPoint { step: 2, bits: two, nats: LN_2 },
        ];
        assert_eq!(run.steps, expected);
        let expected = [(2, vec![(2, 4.0 * LN_2)]), (4, vec![(2, 2.0 * LN_2)])];
        assert_eq!(run.held_out, BTreeMap::from(expected));
        assert_eq!(run.settings["method.precision.schedule.kind"], "\"table\"");
        assert_eq!(run.settings["train.steps"], "3");
    }

    #[test]
    fn a_step_at_several_widths_has_none_and_no_training_has_no_steps() {
        let switchable = read(r#"{ kind = "switchable" }"#);
        assert_eq!(switchable.steps.iter().map(|it| it.bits).collect::<Vec<_>>(), [None, None]);
        let untrained = read(r#"{ kind = "post-training" }"#);
        assert_eq!((untrained.steps.len(), untrained.held_out.len()), (0, 0));
    }
}
