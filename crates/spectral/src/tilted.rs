//! A power law with one more sufficient statistic: what the truncated power law and the log-normal are.
//!
//! # Definition
//! On $t = \ln(x / x_{\min}) \ge 0$ the power law of exponent $\alpha$ is exponential with rate
//! $c = \alpha - 1$. Both alternatives tilt it by a convex $h$,
//! $$ f(t) = \frac{e^{-c t - b h(t)}}{Z(c, b)}, \qquad b \ge 0, $$
//! with $h(t) = e^t - 1$ for the truncated power law ($b = \Lambda x_{\min}$) and $h(t) = t^2$ for the
//! log-normal truncated at $x_{\min}$ ($s^2 = 1/2b$, $\mu = \ln x_{\min} - c s^2$). An exponential family: its
//! log-likelihood is concave, its gradient $E[t] - \bar t$, $E[h] - \bar h$ and its Hessian minus the
//! covariance of $(t, h)$, so that Newton's method with halved steps cannot miss the maximum.
//!
//! At $b = 0$ the family is the power law itself, and stays there unless the gradient in $b$ points
//! inwards, $E[h] > \bar h$ under the power law: $1/(c - 1) > \bar h$ or $c \le 1$, and
//! $2/c^2 > \bar h$. There the alternative has nothing to add.
//!
//! # Computation
//! $Z$ and the moments by five-point Gauss-Legendre quadrature on 64 panels of the interval where
//! $e^{-ct - bh}$ is within $e^{-60}$ of its largest value: one interval, as the exponent is convex.

use crate::FitFailure;

/// The statistic beside $t$.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tilt {
    /// $e^t - 1$: the truncated power law.
    Exponential,
    /// $t^2$: the log-normal.
    Square,
}

impl Tilt {
    fn h(self, t: f64) -> f64 {
        match self {
            Self::Exponential => t.exp_m1(),
            Self::Square => t * t,
        }
    }

    /// Where $c t + b h(t)$ is least over $t \ge 0$.
    fn peak(self, c: f64, b: f64) -> f64 {
        let stationary = match self {
            Self::Exponential => (-c / b).ln(), // NaN for c > 0
            Self::Square => -c / (2.0 * b),
        };
        stationary.max(0.0)
    }
}

/// The member of the family that fits best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Tilted {
    tilt: Tilt,
    /// Rate of $t$; $\alpha - 1$ for the truncated power law.
    pub(crate) c: f64,
    /// Weight of $h$; 0 if the power law fits best.
    pub(crate) b: f64,
    log_z: f64,
}

/// Iterations after which a fit is given up. Newton's method needs about ten.
const ITERATIONS: usize = 200;

impl Tilted {
    /// Maximum likelihood on the logarithms `t` $= \ln(x / x_{\min})$, all at least 0.
    pub(crate) fn fit(tilt: Tilt, t: &[f64]) -> Result<Self, FitFailure> {
        let n = t.len() as f64;
        let means = [t.iter().sum::<f64>() / n, t.iter().map(|&t| tilt.h(t)).sum::<f64>() / n];
        if !means.iter().all(|mean| mean.is_finite()) {
            return Err(FitFailure::NonFinite);
        }
        let variance = t.iter().map(|t| (t - means[0]) * (t - means[0])).sum::<f64>() / n;
        if means[0] <= 1e-12 || variance <= 1e-12 * means[0] * means[0] {
            return Err(FitFailure::Tied);
        }
        let c = 1.0 / means[0];
        let inwards = match tilt {
            Tilt::Exponential => c <= 1.0 || 1.0 / (c - 1.0) > means[1],
            Tilt::Square => 2.0 / (c * c) > means[1],
        };
        let power_law = Self { tilt, c, b: 0.0, log_z: -c.ln() };
        if !inwards {
            return Ok(power_law);
        }
        // From a point that is better than the power law, the best of the boundary, no step upwards
        // ends at the boundary. Close enough to it there is one, as the gradient points inwards.
        let mut b = 0.5 / means[1];
        for _ in 0..ITERATIONS {
            let moments = Moments::of(tilt, [c, b]);
            if -c * means[0] - b * means[1] - moments.log_z > c.ln() - 1.0 {
                return Self::newton(tilt, means, [c, b], moments);
            }
            b *= 0.5;
        }
        Ok(power_law)
    }

    fn newton(
        tilt: Tilt,
        means: [f64; 2],
        start: [f64; 2],
        moments: Moments,
    ) -> Result<Self, FitFailure> {
        let value =
            |[c, b]: [f64; 2], moments: &Moments| -c * means[0] - b * means[1] - moments.log_z;
        let (mut at, mut moments) = (start, moments);
        for _ in 0..ITERATIONS {
            let gradient = [moments.t - means[0], moments.h - means[1]];
            let determinant = moments.tt * moments.hh - moments.th * moments.th;
            let step = [
                (moments.hh * gradient[0] - moments.th * gradient[1]) / determinant,
                (moments.tt * gradient[1] - moments.th * gradient[0]) / determinant,
            ];
            let decrement = step[0] * gradient[0] + step[1] * gradient[1];
            if !decrement.is_finite() {
                return Err(FitFailure::Degenerate);
            }
            if decrement <= 1e-14 {
                return Ok(Self { tilt, c: at[0], b: at[1], log_z: moments.log_z });
            }
            let before = value(at, &moments);
            let mut length = if at[1] + step[1] > 0.0 { 1.0 } else { -0.9 * at[1] / step[1] };
            loop {
                let next = [at[0] + length * step[0], at[1] + length * step[1]];
                let there = Moments::of(tilt, next);
                if value(next, &there) > before {
                    (at, moments) = (next, there);
                    break;
                }
                length *= 0.5;
                if length < 1e-12 {
                    // No step gains anything: the maximum, to the precision of the quadrature.
                    return Ok(Self { tilt, c: at[0], b: at[1], log_z: moments.log_z });
                }
            }
        }
        Err(FitFailure::Degenerate)
    }

    /// $\ln f(t)$, a density in $t$; that in $x$ is $\ln f(t) - \ln x$.
    pub(crate) fn log_density(&self, t: f64) -> f64 {
        let tilted = if self.b > 0.0 { self.b * self.tilt.h(t) } else { 0.0 };
        -self.c * t - tilted - self.log_z
    }
}

/// $\ln Z$, the means of $t$ and $h$ and their covariance.
struct Moments {
    log_z: f64,
    t: f64,
    h: f64,
    tt: f64,
    th: f64,
    hh: f64,
}

/// How far, in nats below its peak, the density is followed.
const DEPTH: f64 = 60.0;
const PANELS: usize = 64;

impl Moments {
    fn of(tilt: Tilt, [c, b]: [f64; 2]) -> Self {
        let exponent = |t: f64| c * t + b * tilt.h(t);
        let peak = tilt.peak(c, b);
        let floor = exponent(peak);
        let deep = |t: f64| exponent(t) - floor > DEPTH;
        let mut reach = 1e-3;
        while !deep(peak + reach) && reach < 1e6 {
            reach *= 2.0;
        }
        let high = crossing(peak, peak + reach, deep);
        let low = if deep(0.0) { crossing(peak, 0.0, deep) } else { 0.0 };

        let (mut z, mut t_mean, mut h_mean) = (0.0, 0.0, 0.0);
        let mut nodes = [(0.0, 0.0, 0.0); 5 * PANELS];
        let half = 0.5 * (high - low) / PANELS as f64;
        for (index, node) in nodes.iter_mut().enumerate() {
            let (place, weight) = gauss_legendre(index % 5);
            let t = low + half * (2.0 * (index / 5) as f64 + 1.0 + place);
            let (mass, h) = (half * weight * (floor - exponent(t)).exp(), tilt.h(t));
            *node = (mass, t, h);
            z += mass;
            t_mean += mass * t;
            h_mean += mass * h;
        }
        let (t, h) = (t_mean / z, h_mean / z);
        let (mut tt, mut th, mut hh) = (0.0, 0.0, 0.0);
        for (mass, node_t, node_h) in nodes {
            let (dt, dh) = (node_t - t, node_h - h);
            tt += mass * dt * dt / z;
            th += mass * dt * dh / z;
            hh += mass * dh * dh / z;
        }
        Self { log_z: z.ln() - floor, t, h, tt, th, hh }
    }
}

/// Where `deep` turns true on the way from `shallow` to `other`, within a millionth of the way.
fn crossing(mut shallow: f64, mut other: f64, deep: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..20 {
        let middle = f64::midpoint(shallow, other);
        if deep(middle) {
            other = middle;
        } else {
            shallow = middle;
        }
    }
    other
}

/// Node on $[-1, 1]$ and weight of the five-point rule: $0$ and $\pm\frac13\sqrt{5 \mp 2\sqrt{10/7}}$.
fn gauss_legendre(index: usize) -> (f64, f64) {
    const NODES: [(f64, f64); 5] = [
        (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
        (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (0.906_179_845_938_664, 0.236_926_885_056_189_1),
    ];
    NODES[index]
}

#[cfg(test)]
mod tests {
    use statrs::function::erf::erfc;

    use super::*;

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!((found - expected).abs() <= tolerance * expected.abs(), "{found}, not {expected}");
    }

    #[test]
    fn moments_of_distributions_known_in_closed_form() {
        // b = 0: exponential with rate 2.5
        let exponential = Moments::of(Tilt::Square, [2.5, 0.0]);
        close(exponential.log_z, -(2.5_f64.ln()), 1e-11);
        close(exponential.t, 0.4, 1e-11);
        close(exponential.tt, 0.16, 1e-10);
        close(exponential.h, 0.32, 1e-11); // E[t^2] = 2 / c^2
        // Half normal, s = 1/2: b = 2, Z = s sqrt(pi/2), E[t] = s sqrt(2/pi)
        let half = Moments::of(Tilt::Square, [0.0, 2.0]);
        close(half.log_z, (0.5 * (std::f64::consts::PI / 2.0).sqrt()).ln(), 1e-11);
        close(half.t, 0.5 * (2.0 / std::f64::consts::PI).sqrt(), 1e-11);
        close(half.h, 0.25, 1e-11);
        // Normal with mean 100, s = 1/2, far from 0: c = -mean / s^2
        let far = Moments::of(Tilt::Square, [-400.0, 2.0]);
        close(far.t, 100.0, 1e-12);
        close(far.tt, 0.25, 1e-10);
        // c = -1: dx e^-bx on x > 1, Z = 1/b, E[x - 1] = 1/b
        for b in [1e-9, 1e-3, 1.0, 50.0] {
            let exponential = Moments::of(Tilt::Exponential, [-1.0, b]);
            close(exponential.log_z, -b.ln(), 1e-10);
            close(exponential.h, 1.0 / b, 1e-9);
        }
        // c = 0: Z = e^b E1(b); E1(1) = .219383934395520273677
        close(
            Moments::of(Tilt::Exponential, [0.0, 1.0]).log_z,
            0.219_383_934_395_520_3_f64.ln() + 1.0,
            1e-9,
        );
        // Log-normal with mu = 1, s = 2 cut at 0: Z = sqrt(pi/2) s e^(mu^2/2s^2) erfc(-mu/(s sqrt 2))
        let expected = (std::f64::consts::PI / 2.0).sqrt()
            * 2.0
            * 0.125_f64.exp()
            * erfc(-1.0 / 8.0_f64.sqrt());
        close(Moments::of(Tilt::Square, [-0.25, 0.125]).log_z, expected.ln(), 1e-11);
    }

    #[test]
    fn a_fit_reproduces_both_means() {
        let t: Vec<f64> = (0..60).map(|i| f64::from(i) / 40.0).collect();
        for tilt in [Tilt::Exponential, Tilt::Square] {
            let fit = Tilted::fit(tilt, &t).unwrap();
            let moments = Moments::of(tilt, [fit.c, fit.b]);
            close(moments.t, t.iter().sum::<f64>() / 60.0, 1e-6);
            close(moments.h, t.iter().map(|&t| tilt.h(t)).sum::<f64>() / 60.0, 1e-6);
        }
    }

    #[test]
    fn heavier_than_a_power_law_stays_one() {
        // One far value: mean of t^2 is above twice the squared mean
        let mut t = vec![0.1; 20];
        t.push(9.0);
        for tilt in [Tilt::Exponential, Tilt::Square] {
            let fit = Tilted::fit(tilt, &t).unwrap();
            assert!(fit.b <= 0.0);
            close(fit.c, 21.0 / 11.0, 1e-14);
            close(fit.log_density(1.0), (21.0_f64 / 11.0).ln() - 21.0 / 11.0, 1e-13);
        }
    }

    #[test]
    fn what_cannot_be_fitted_says_why() {
        assert_eq!(Tilted::fit(Tilt::Square, &[0.0; 12]), Err(FitFailure::Tied));
        assert_eq!(Tilted::fit(Tilt::Square, &[]), Err(FitFailure::NonFinite));
        assert_eq!(Tilted::fit(Tilt::Exponential, &[1e3; 12]), Err(FitFailure::NonFinite));
        assert_eq!(Tilted::fit(Tilt::Square, &[1.0; 12]), Err(FitFailure::Tied)); // a spike
    }
}
