//! The pipeline from records to events, as tables: segments in, lines of text out.

mod endless_heads;
mod ends;
mod expectations;
mod far;
mod http;
mod leniency;
mod lines;
mod loss;
mod tcp;

mod talk;
mod translated;
