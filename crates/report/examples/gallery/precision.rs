//! Losses by bit-width, and over a training in which the width changes.

use report::{Axis, Mark, Panel, Panels, Point, Reference, Section, Series, Svg, XyChart};

use crate::{noise, noise_at};

fn by_width() -> Svg {
    let methods = ["round to nearest", "learned step", "cyclic", "nested"];
    let line = |(method, name): (usize, &&str)| {
        let point = |bits: u32| {
            let width = f64::from(bits);
            let y = 3.1 + (4.0 + 1.5 * method as f64) * (-0.75 * width).exp();
            let half = 0.02 + 0.05 * noise(method + 10 * bits as usize).abs();
            // Side by side, so that intervals do not lie on one another.
            let x = width * 1.012_f64.powf(method as f64);
            Point { x, y, y_interval: Some((y - half, y + half)), ..Default::default() }
        };
        Series::new(*name, Mark::LineAndPoints, [2, 3, 4, 6, 8, 16].map(point))
    };
    XyChart {
        title: "Loss by width".to_owned(),
        x: Axis::log("bits").with_ticks([2.0, 3.0, 4.0, 6.0, 8.0, 16.0]),
        y: Axis::linear("loss, bits per token"),
        series: methods.iter().enumerate().map(line).collect(),
        references: vec![Reference::Horizontal { at: 3.1, label: "full precision".to_owned() }],
        ..Default::default()
    }
    .to_svg()
}

fn over_time() -> Svg {
    let steps = || (0..5_000).map(f64::from);
    let loss = |it: f64| 3.1 + 6.0 / (1.0 + it / 90.0) + 0.04 * noise_at(it);
    let validation = |it: f64| 3.2 + 6.0 / (1.0 + it / 90.0);
    // A half cosine from 3 to 8 bits, restarted every 1,000 steps.
    let bits = |it: f64| (5.5 - 2.5 * (std::f64::consts::PI * (it % 1e3) / 1e3).cos()).round();
    let series = |name: &str, mark, value: &dyn Fn(f64) -> f64| {
        Series::new(name, mark, steps().map(|it| (it, value(it))))
    };
    let losses = Panel {
        y: Axis::linear("loss, bits per token"),
        series: vec![
            series("training", Mark::Line, &loss),
            series("validation", Mark::Line, &validation),
        ],
        ..Default::default()
    };
    let widths = Panel {
        y: Axis::linear("bits").with_ticks([3.0, 4.0, 5.0, 6.0, 7.0, 8.0]),
        series: vec![
            series("forward", Mark::Steps, &bits),
            series("gradients", Mark::Steps, &|_| 8.0),
        ],
        height: 110,
        ..Default::default()
    };
    Panels {
        title: "Loss and precision".to_owned(),
        x: Axis::linear("step"),
        panels: vec![losses, widths],
        ..Default::default()
    }
    .to_svg()
}

pub(crate) fn section() -> Section {
    Section::new("Precision").chart(over_time(), "").chart(by_width(), "Bars are over three seeds.")
}
