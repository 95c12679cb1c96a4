//! What every schedule promises, over the registry, and what the tests of single ones share.

use std::num::NonZeroU64;

use proptest::prelude::*;

use crate::{
    Alternating, AnyPrecisionSchedule, Change, Constant, CosineWave, CyclicCosine, Division, Flip,
    PerEpoch, PrecisionSchedule, Profile, Random, Repeated, ScheduleConfig, ScheduleError, Step,
    Table, TriangularWave, Widths,
};

pub(crate) fn nonzero(n: u64) -> NonZeroU64 {
    NonZeroU64::new(n).unwrap()
}

/// The widths of the first `n` steps of a run of `steps`, which must pass its check.
pub(crate) fn first(
    n: u64,
    schedule: &dyn PrecisionSchedule,
    widths: impl IntoIterator<Item = u32>,
    steps: u64,
) -> Vec<u32> {
    let (widths, steps) = (Widths::new(widths).unwrap(), nonzero(steps));
    assert_eq!(schedule.check(&widths, steps), Ok(()));
    (0..n).map(|step| schedule.bits(step, &widths, steps)).collect()
}

/// Why a schedule does not pass its check.
pub(crate) fn error(
    schedule: &dyn PrecisionSchedule,
    widths: impl IntoIterator<Item = u32>,
    steps: u64,
) -> ScheduleError {
    schedule.check(&Widths::new(widths).unwrap(), nonzero(steps)).unwrap_err()
}

/// The configuration in the documentation of a file.
pub(crate) fn snippet(file: &str) -> String {
    let path = format!("{}/src/{file}.rs", env!("CARGO_MANIFEST_DIR"));
    let source = std::fs::read_to_string(path).unwrap();
    let (_, snippet) = source.split_once("/// ```toml\n").expect(file);
    snippet.split_once("/// ```").expect(file).0.replace("/// ", "")
}

/// One of the ten schedules of Wolfe and Kyrillidis, with 8 cycles, by its name in the paper.
pub(crate) fn wolfe_kyrillidis(name: &str) -> AnyPrecisionSchedule {
    let profile = match &name[..1] {
        "C" => Profile::Cosine,
        "L" => Profile::Linear,
        "E" => Profile::Exponential,
        _ => Profile::Rex,
    };
    let flip = if name.ends_with('H') { Flip::Horizontal } else { Flip::Vertical };
    match &name[1..] {
        "R" => Repeated { profile, ..Repeated::default() }.into(),
        _ => Alternating { profile, flip, ..Alternating::default() }.into(),
    }
}

/// Every method at its defaults, and at settings that use what it has, for the default widths.
fn market() -> Vec<AnyPrecisionSchedule> {
    let mut market = AnyPrecisionSchedule::all();
    for name in ["CR", "LR", "ER", "RR", "CT", "LT", "ETV", "ETH", "RTV", "RTH"] {
        market.push(wolfe_kyrillidis(name));
    }
    let truncated = Division::Truncated;
    let change = |step, bits| Change { step, bits };
    let table = Table { bits: vec![8, 3, 5] };
    market.extend::<[AnyPrecisionSchedule; _]>([
        Repeated { division: truncated, cycles: nonzero(7), ..Repeated::default() }.into(),
        Alternating { division: truncated, cycles: nonzero(6), ..Alternating::default() }.into(),
        Alternating { cycles: nonzero(3), may_end_low: true, ..Alternating::default() }.into(),
        Step { first: 3, changes: vec![change(10, 8), change(11, 4)] }.into(),
        table.clone().into(),
        PerEpoch { steps_per_epoch: nonzero(9), schedule: Box::new(table.into()) }.into(),
        PerEpoch { steps_per_epoch: nonzero(7), schedule: Box::new(Random::default().into()) }
            .into(),
    ]);
    market
}

/// A multiple of the lengths of all tables.
const STEPS: u64 = 3_000;

#[test]
fn every_width_is_one_of_the_set() {
    let config = |schedule| ScheduleConfig { schedule, ..ScheduleConfig::default() };
    for method in market() {
        let schedule = config(method.clone()).over(STEPS).unwrap();
        for step in (0..3 * STEPS).chain([u64::MAX - 1, u64::MAX]) {
            let bits = schedule.bits(step);
            assert!(schedule.widths().contains(bits), "{method:?} {step}: {bits}");
        }
    }
}

#[test]
fn a_width_depends_on_its_step_alone() {
    for method in market() {
        let config = ScheduleConfig { schedule: method.clone(), ..ScheduleConfig::default() };
        let schedule = config.over(STEPS).unwrap();
        let forward: Vec<u32> = (0..STEPS).map(|step| schedule.bits(step)).collect();
        // In another order, and after a resume from the file.
        let file = toml::to_string(&config).unwrap();
        let resumed = toml::from_str::<ScheduleConfig>(&file).unwrap().over(STEPS).unwrap();
        let mut backward: Vec<u32> = (0..STEPS).rev().map(|step| resumed.bits(step)).collect();
        backward.reverse();
        assert_eq!(forward, backward, "{method:?}");
        assert_eq!(forward.into_iter().collect::<crate::Usage>(), schedule.usage());
    }
}

/// After how many steps of a run a method promises the same widths again.
fn period(method: &AnyPrecisionSchedule, steps: u64) -> Option<u64> {
    let whole = |cycles: NonZeroU64| (steps % cycles == 0).then(|| steps / cycles);
    let cycle = |division, cycles: NonZeroU64| match division {
        Division::Exact => whole(cycles),
        Division::Truncated => Some(steps / cycles),
    };
    match method {
        AnyPrecisionSchedule::Constant(_) => Some(1),
        AnyPrecisionSchedule::CyclicCosine(it) => Some(it.period.get()),
        AnyPrecisionSchedule::Repeated(it) => cycle(it.division, it.cycles),
        AnyPrecisionSchedule::Alternating(it) => Some(2 * cycle(it.division, it.cycles)?),
        AnyPrecisionSchedule::CosineWave(CosineWave { cycles })
        | AnyPrecisionSchedule::TriangularWave(TriangularWave { cycles }) => whole(*cycles),
        AnyPrecisionSchedule::Table(it) => Some(it.bits.len() as u64),
        AnyPrecisionSchedule::PerEpoch(it) => {
            let epoch = it.steps_per_epoch.get();
            Some(epoch * period(&it.schedule, steps.div_ceil(epoch))?)
        }
        AnyPrecisionSchedule::Step(_) | AnyPrecisionSchedule::Random(_) => None,
    }
}

#[test]
fn periods_are_what_they_promise() {
    let mut periodic = 0;
    for method in market() {
        let Some(period) = period(&method, STEPS) else { continue };
        let config = ScheduleConfig { schedule: method.clone(), ..ScheduleConfig::default() };
        let schedule = config.over(STEPS).unwrap();
        for step in 0..STEPS {
            assert_eq!(schedule.bits(step), schedule.bits(step + period), "{method:?} {step}");
        }
        periodic += 1;
    }
    assert_eq!(periodic, market().len() - 4); // step twice, random twice
}

#[test]
fn first_and_last_widths() {
    for method in market() {
        let config = ScheduleConfig { schedule: method.clone(), ..ScheduleConfig::default() };
        let expected = match &method {
            // Waves return; steps that truncated cycles leave over begin another.
            AnyPrecisionSchedule::CosineWave(_)
            | AnyPrecisionSchedule::TriangularWave(_)
            | AnyPrecisionSchedule::Repeated(Repeated { division: Division::Truncated, .. }) => {
                (3, 3)
            }
            AnyPrecisionSchedule::Repeated(_) => (3, 8),
            // 3 000 steps are a period and a half: 3 + 2.5 (1 - cos π/2) = 5.5, from below.
            AnyPrecisionSchedule::CyclicCosine(_) => (3, 5),
            AnyPrecisionSchedule::Alternating(Alternating { may_end_low: true, .. }) => (8, 3),
            AnyPrecisionSchedule::Alternating(_) => (8, 8),
            AnyPrecisionSchedule::Constant(Constant { bits }) => (*bits, *bits),
            AnyPrecisionSchedule::Step(Step { first, changes }) => {
                (*first, changes.last().map_or(*first, |change| change.bits))
            }
            AnyPrecisionSchedule::Table(Table { bits }) => (bits[0], *bits.last().unwrap()),
            AnyPrecisionSchedule::Random(_) | AnyPrecisionSchedule::PerEpoch(_) => continue,
        };
        let schedule = config.over(STEPS).unwrap();
        assert_eq!((schedule.bits(0), schedule.bits(STEPS - 1)), expected, "{method:?}");
    }
}

#[test]
fn cpt_is_cr() {
    let widths = || Widths::new([4, 6, 8, 32]).unwrap();
    let cpt = ScheduleConfig { widths: widths(), schedule: CyclicCosine::default().into() };
    let cr = ScheduleConfig { widths: widths(), schedule: wolfe_kyrillidis("CR") };
    let (cpt, cr) = (cpt.over(16_000).unwrap(), cr.over(16_000).unwrap());
    assert!((0..16_000).all(|step| cpt.bits(step) == cr.bits(step)));
}

#[test]
fn every_doc_has_a_configuration_that_parses() {
    for method in AnyPrecisionSchedule::all() {
        let name = method.name();
        let parsed: AnyPrecisionSchedule =
            toml::from_str(&snippet(&name.replace('-', "_"))).expect(name);
        assert_eq!(parsed.name(), name);
        let default = toml::from_str(&format!("kind = {name:?}"));
        assert_eq!(default.as_ref(), Ok(&method));
        let written = toml::to_string(&parsed).unwrap();
        assert_eq!(toml::from_str::<AnyPrecisionSchedule>(&written), Ok(parsed));
    }
    for file in ["schedule", "widths"] {
        let config: ScheduleConfig = toml::from_str(&snippet(file)).unwrap();
        assert_eq!(config.widths.as_slice(), [4, 6, 8]);
    }
}

#[test]
fn every_method_says_what_it_is() {
    for method in AnyPrecisionSchedule::all() {
        assert!(method.about().ends_with('.'), "{}", method.name());
    }
    assert_eq!(AnyPrecisionSchedule::NAMES.len(), 10);
}

/// Sets of widths.
fn sets() -> impl Strategy<Value = Widths> {
    let every: Vec<u32> = (2..=18).chain([32]).collect();
    let count = every.len();
    proptest::sample::subsequence(every, 1..=count).prop_map(|set| Widths::new(set).unwrap())
}

proptest! {
    /// Also where the check fails, nothing panics.
    #[test]
    fn any_set_and_any_run(widths in sets(), steps in 1_u64..400, at in any::<u64>(), cycles in 1_u64..40) {
        let mut market = market();
        let cycles = nonzero(cycles);
        market.extend::<[AnyPrecisionSchedule; _]>([
            CosineWave { cycles }.into(),
            TriangularWave { cycles }.into(),
            Repeated { cycles, division: Division::Truncated, ..Repeated::default() }.into(),
            Alternating { cycles, may_end_low: true, ..Alternating::default() }.into(),
            Table { bits: vec![] }.into(),
        ]);
        for method in market {
            let (method, steps) = (method.as_dyn(), nonzero(steps));
            let is_sound = method.check(&widths, steps).is_ok();
            for step in [0, steps.get() - 1, at] {
                let bits = method.bits(step, &widths, steps);
                prop_assert!(!is_sound || widths.contains(bits));
            }
        }
    }

    #[test]
    fn the_nearest_width_is_the_nearest(widths in sets(), value in 0_f64..40.0) {
        let distance = |bits: u32| (f64::from(bits) - value).abs();
        let least = widths.as_slice().iter().map(|&bits| distance(bits)).fold(f64::INFINITY, f64::min);
        prop_assert!(distance(widths.nearest(value)) <= least + 1e-9);
    }
}
