//! Configurations: what is written is what is read.

use precision_schedule::{ScheduleConfig, Widths};

use super::*;

/// With every width of the default schedule, which a configuration must have.
fn with(method: AnyQatMethod) -> QatConfig {
    QatConfig { widths: (3..=8).map(bits).collect(), method, ..QatConfig::default() }
}

#[test]
fn every_method_at_its_defaults_comes_back_from_a_file() {
    for method in AnyQatMethod::all() {
        let config = with(method);
        let text = toml::to_string(&config).unwrap();
        assert_eq!(QatConfig::parse(&text, &[]).unwrap(), config, "{text}");
        let kind =
            format!("widths = [3, 4, 5, 6, 7, 8]\n[method]\nkind = \"{}\"", config.method.name());
        assert_eq!(QatConfig::parse(&kind, &[]).unwrap(), config, "by its name alone");
    }
    assert_eq!(AnyQatMethod::NAMES, ["post-training", "switchable", "mergeable", "cyclic"]);
}

#[test]
fn every_distillation_comes_back_from_a_file() {
    for distillation in AnyDistillation::all() {
        let kind = distillation.name();
        for method in ["switchable", "mergeable"] {
            let text =
                format!("method = {{ kind = \"{method}\", distillation.kind = \"{kind}\" }}");
            let config = QatConfig::parse(&text, &[]).unwrap();
            let found = match &config.method {
                AnyQatMethod::Switchable(it) => &it.distillation,
                AnyQatMethod::Mergeable(it) => &it.distillation,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, &distillation);
            assert_eq!(QatConfig::parse(&toml::to_string(&config).unwrap(), &[]).unwrap(), config);
        }
    }
    let names = ["cascade", "recursive", "sandwich", "full-precision", "independent"];
    assert_eq!(AnyDistillation::NAMES, names);
}

#[test]
fn settings_that_are_none_stay_none() {
    let cyclic = Cyclic {
        factors: None,
        precision: ScheduleConfig {
            widths: Widths::new([4, 8]).unwrap(),
            ..ScheduleConfig::default()
        },
        ..Cyclic::default()
    };
    let switchable = Switchable { factors: None, ..Switchable::default() };
    for method in [cyclic.into(), switchable.into()] {
        let config = QatConfig { method, input_bits: None, ..QatConfig::default() };
        let text = toml::to_string(&config).unwrap();
        assert_eq!(QatConfig::parse(&text, &[]).unwrap(), config, "{text}");
    }
}
