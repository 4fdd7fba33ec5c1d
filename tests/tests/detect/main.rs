//! Detection over recorded captures and live, and its bounds.

mod counts_survive_a_restart;
mod detection_stays_in_its_bounds;
mod labelled_captures_raise_their_alerts;
