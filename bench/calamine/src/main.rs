//! Reads the first sheet of a workbook by calamine's streaming reader, touches every cell, and prints what it saw, as
//! bench/read_sheet does.

use calamine::{open_workbook, DataRef, Reader, Xlsx};

#[derive(Default)]
struct Seen {
    cells: u64,
    numbers: u64,
    sum: f64,
    texts: u64,
    letters: usize,
    dates: u64,
    booleans: u64,
}

impl Seen {
    fn text(&mut self, text: &str) {
        self.texts += 1;
        self.letters += text.chars().count();
    }

    fn number(&mut self, number: f64) {
        self.numbers += 1;
        self.sum += number;
    }

    fn touch(&mut self, value: &DataRef) {
        self.cells += 1;
        match value {
            DataRef::SharedString(text) => self.text(text),
            DataRef::String(text) => self.text(text),
            DataRef::Float(number) => self.number(*number),
            DataRef::Int(number) => self.number(*number as f64),
            DataRef::Bool(_) => self.booleans += 1,
            DataRef::DateTime(_) | DataRef::DateTimeIso(_) => self.dates += 1,
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: read-calamine WORKBOOK")?;
    let mut workbook: Xlsx<_> = open_workbook(path)?;
    let sheet = workbook.sheet_names().first().ok_or("no sheet")?.clone();
    let mut seen = Seen::default();
    let mut cells = workbook.worksheet_cells_reader(&sheet)?;
    while let Some(cell) = cells.next_cell()? {
        seen.touch(cell.get_value());
    }
    println!(
        "{{\"cells\":{},\"numbers\":{},\"sum\":{:.6},\"texts\":{},\"letters\":{},\"dates\":{},\"booleans\":{}}}",
        seen.cells, seen.numbers, seen.sum, seen.texts, seen.letters, seen.dates, seen.booleans
    );
    Ok(())
}
