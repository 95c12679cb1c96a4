//! The page: its head, what was run, and what did not finish.

use report::{Page, Section, Table};
use serde::{Deserialize, Serialize};

use super::SweepReport;
use super::findings::count;
use crate::Error;
use crate::sweep::RunStatus;

/// What a mode is.
#[derive(Serialize, Deserialize)]
struct Asked {
    mode: String,
    #[serde(rename = "settings in [sublora]")]
    settings: String,
    finished: String,
}

/// A task that is not finished.
#[derive(Serialize, Deserialize)]
struct Open {
    #[serde(rename = "not finished")]
    name: String,
    folder: String,
    status: String,
    because: String,
}

impl SweepReport {
    pub(super) fn page(&self) -> Result<Page, Error> {
        let config = &self.record.config;
        let finished =
            self.record.runs.iter().filter(|it| it.status == RunStatus::Finished).count();
        let mut page = Page::new(format!(
            "Sweep of {} at {}",
            count(config.modes.len(), "mode"),
            count(config.intrinsic_dim.len(), "budget")
        ));
        for finding in self.findings() {
            page = page.summary(finding);
        }
        page = page
            .key_figure("runs finished", format!("{finished} of {}", self.record.runs.len()))
            .key_figure("seeds", config.seeds.len().to_string());
        for best in self.record.choice.best.iter().filter(|it| it.k.is_none()) {
            let bound = format!("{:.4}", bounds::round_up(best.bound, 4));
            page =
                page.key_figure(format!("least bound, {}", super::cell::about(best.unit)), bound);
        }
        page = page.section(self.setting_section()?);
        if finished > 0 {
            page = page
                .section(self.bounds_section()?)
                .section(self.frontier_section())
                .section(self.parts_section()?)
                .section(self.gates_section()?)
                .section(self.gradients_section()?)
                .section(self.dimensions_section())
                .section(self.loss_section());
        }
        Ok(page.section(self.open_section()?))
    }

    fn setting_section(&self) -> Result<Section, Error> {
        let config = &self.record.config;
        let mode = |it: &crate::SweepMode| {
            let runs = self.record.runs.iter().filter(|run| run.mode == it.name);
            let finished = runs.clone().filter(|run| run.status == RunStatus::Finished).count();
            let settings = it.settings.iter().map(|(key, value)| format!("{key} = {value}"));
            Asked {
                mode: it.name.clone(),
                settings: settings.collect::<Vec<_>>().join(", "),
                finished: format!("{finished} of {}", runs.count()),
            }
        };
        let modes: Vec<Asked> = config.modes.iter().map(mode).collect();
        let seeds: Vec<String> = config.seeds.iter().map(ToString::to_string).collect();
        let mut section = Section::new("What was run").table(&Table::from_rows(&modes)?, "").prose(
            format!(
                "Every mode at every budget d, once for each of the seeds {}. Runs of one seed begin from \
                 the same weights and see the same windows, so that modes are compared seed by seed.",
                seeds.join(", ")
            ),
        );
        if let Some(sentence) = self.evidence() {
            section = section.prose(sentence);
        }
        Ok(section.prose(
            "A mean of bounds compares modes and bounds nothing: what holds are the bounds of the single \
             runs, each of which pays for the choice among all.",
        ))
    }

    /// What the certificates were made on.
    fn evidence(&self) -> Option<String> {
        let first = self.certificates.first()?;
        let range = |value: &dyn Fn(&crate::CorpusRecord) -> u64| {
            let values = || self.certificates.iter().map(|it| value(&it.corpus));
            let (low, high) = (values().min().unwrap_or(0), values().max().unwrap_or(0));
            if low == high { low.to_string() } else { format!("{low} to {high}") }
        };
        let tokenizer = &first.corpus.tokenizer;
        let sample = |it: &Option<crate::SampleRecord>| match it.as_ref().map(|it| it.size) {
            None => "none".to_owned(),
            Some(None) => "all".to_owned(),
            Some(Some(size)) => size.to_string(),
        };
        Some(format!(
            "Each certificate is on {} documents, {} tokens of the tokenizer “{}” (vocabulary {}), of \
             which {} documents and {} positions were scored; its claims hold together with a \
             confidence of {} %.",
            range(&|it| it.documents),
            range(&|it| it.tokens),
            tokenizer.name,
            tokenizer.vocab_size,
            sample(&first.documents),
            sample(&first.positions),
            100.0 * (1.0 - first.confidence.failure_probability),
        ))
    }

    fn open_section(&self) -> Result<Section, Error> {
        let bases = self.record.bases.iter();
        let bases =
            bases.map(|it| (format!("base s{}", it.seed), &it.path, it.status, &it.failure));
        let runs = self.record.runs.iter();
        let runs = runs.map(|it| (it.name.clone(), &it.path, it.status, &it.failure));
        let open = bases.chain(runs).filter(|it| it.2 != RunStatus::Finished);
        let open: Vec<Open> = open
            .map(|(name, path, status, failure)| Open {
                name,
                folder: path.clone(),
                status: status.name().to_owned(),
                because: failure
                    .as_deref()
                    .and_then(|it| it.lines().next())
                    .unwrap_or("")
                    .to_owned(),
            })
            .collect();
        let section = Section::new("What did not finish");
        if open.is_empty() {
            return Ok(section.prose("Everything did."));
        }
        let caption = "The same “sublora sweep” tries them again; failed.txt in a folder says more";
        Ok(section.table(&Table::from_rows(&open)?, caption))
    }
}
