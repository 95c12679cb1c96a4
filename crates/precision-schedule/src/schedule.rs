//! A schedule for one run.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::{AnyPrecisionSchedule, Repeated, ScheduleError, Usage, Widths};

/// Widths and a rule for them, as they stand in a configuration. By default 3 to 8 bits along CR.
///
/// ```toml
/// widths = [4, 6, 8]
/// schedule = { kind = "cosine-wave", cycles = 15 }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Every width of the schedule: it reaches from the lowest to the highest of them.
    pub widths: Widths,
    /// Which of them when.
    pub schedule: AnyPrecisionSchedule,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { widths: Widths::default(), schedule: Repeated::default().into() }
    }
}

impl ScheduleConfig {
    /// The schedule of a run of `steps`.
    ///
    /// # Errors
    /// [`ScheduleError`] for a run of no step or above [`Schedule::MAX_STEPS`], and for settings that do
    /// not fit it.
    pub fn over(&self, steps: u64) -> Result<Schedule, ScheduleError> {
        let length = NonZeroU64::new(steps).filter(|_| steps <= Schedule::MAX_STEPS);
        let steps = length.ok_or(ScheduleError::Steps { steps })?;
        self.schedule.as_dyn().check(&self.widths, steps)?;
        Ok(Schedule { config: self.clone(), steps })
    }
}

/// The width of every step of a run. Made by [`ScheduleConfig::over`], so its settings are sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    config: ScheduleConfig,
    steps: NonZeroU64,
}

impl Schedule {
    /// The longest run.
    pub const MAX_STEPS: u64 = 1 << 32;

    /// The width, one of [`widths`](Self::widths), of `step`, counted from 0. After the last step the
    /// pattern goes on.
    pub fn bits(&self, step: u64) -> u32 {
        self.config.schedule.as_dyn().bits(step, &self.config.widths, self.steps)
    }

    /// The configured widths; a short run may not come to all of them.
    pub fn widths(&self) -> &Widths {
        &self.config.widths
    }

    /// The length of the run.
    pub fn steps(&self) -> u64 {
        self.steps.get()
    }

    /// How many steps of the run are at which width. Time in proportion to the steps.
    pub fn usage(&self) -> Usage {
        (0..self.steps()).map(|step| self.bits(step)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CosineWave;

    #[test]
    fn a_configuration_of_two_keys() {
        let text = "widths = [4, 6, 8]\n[schedule]\nkind = \"cosine-wave\"\ncycles = 2\n";
        let config: ScheduleConfig = toml::from_str(text).unwrap();
        let expected = ScheduleConfig {
            widths: Widths::new([4, 6, 8]).unwrap(),
            schedule: CosineWave { cycles: NonZeroU64::new(2).unwrap() }.into(),
        };
        assert_eq!(config, expected);
        assert_eq!(toml::from_str(""), Ok(ScheduleConfig::default()));
        assert_eq!(toml::from_str(&toml::to_string(&config).unwrap()), Ok(config));
    }

    #[test]
    fn mistakes_speak_for_themselves() {
        for (text, expected) in [
            ("width = [4]", "unknown field `width`, expected `widths` or `schedule`"),
            ("widths = [4, 5, 5]", "`widths` has 5 after 5, expected rising widths"),
            ("schedule.kind = \"cosin\"", "unknown variant `cosin`, expected one of `constant`"),
            (
                "schedule = { kind = \"repeated\", cycle = 8 }",
                "unknown field `cycle`, expected one of",
            ),
            ("schedule = { kind = \"repeated\", profile = \"sine\" }", "unknown variant `sine`"),
            ("schedule = { kind = \"repeated\", cycles = 0 }", "expected a nonzero u64"),
        ] {
            let error = toml::from_str::<ScheduleConfig>(text).unwrap_err();
            assert!(error.message().contains(expected), "{error}");
        }
    }

    #[test]
    fn runs_that_are_none() {
        let config = ScheduleConfig::default();
        for steps in [0, Schedule::MAX_STEPS + 1, u64::MAX] {
            assert_eq!(config.over(steps).unwrap_err(), ScheduleError::Steps { steps });
        }
        assert_eq!(
            config.over(0).unwrap_err().to_string(),
            "`steps` is 0, expected 1 to 4294967296"
        );
        assert!(config.over(Schedule::MAX_STEPS).is_ok());
        assert!(config.over(7).is_err_and(|it| it.to_string().starts_with("`cycles` is 8")));
    }
}
