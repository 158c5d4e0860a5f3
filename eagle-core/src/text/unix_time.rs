//! Calendar time of a Unix time, for log lines and INFO.
//!
//! Only the proleptic Gregorian calendar without leap seconds; a time zone is an offset the caller
//! adds, since this crate reads no environment.

use std::fmt;

/// A Unix time taken apart. Displays as log lines have it: `22 Nov 2026 20:49:57.123`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CalendarTime {
    /// The year, negative before the year 0.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999.
    pub millisecond: u16,
}

impl CalendarTime {
    /// The calendar time of `unix_ms`, milliseconds since 1970 began, at `offset_s` seconds east of
    /// UTC.
    pub fn new(unix_ms: i64, offset_s: i32) -> Self {
        let local_ms = i128::from(unix_ms) + i128::from(offset_s) * 1000;
        let (days, ms_of_day) = (
            local_ms.div_euclid(86_400_000),
            local_ms.rem_euclid(86_400_000),
        );
        let (year, month, day) = civil_from_days(days as i64);
        let second_of_day = (ms_of_day / 1000) as u32;
        Self {
            year,
            month,
            day,
            hour: (second_of_day / 3600) as u8,
            minute: (second_of_day / 60 % 60) as u8,
            second: (second_of_day % 60) as u8,
            millisecond: (ms_of_day % 1000) as u16,
        }
    }
}

impl fmt::Display for CalendarTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let month = MONTHS[usize::from(self.month - 1)];
        write!(f, "{:02} {month} {:04} ", self.day, self.year)?;
        write!(f, "{:02}:{:02}:{:02}.", self.hour, self.minute, self.second)?;
        write!(f, "{:03}", self.millisecond)
    }
}

/// Year, month and day of the day that is `days` after 1 January 1970.
///
/// Counts in years that begin in March, so that the leap day is a year's last, within eras of 400
/// years, which all have the same number of days.
fn civil_from_days(days: i64) -> (i64, u8, u8) {
    const DAYS_PER_ERA: i64 = 146_097;
    // 1 March of the year 0 lies 719468 days before 1970.
    let days = days + 719_468;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // March to July and August to December have the same 153 days, hence the linear formula.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month as u8, day as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let cases = [
            (0, "01 Jan 1970 00:00:00.000"),
            (-1, "31 Dec 1969 23:59:59.999"),
            (951_782_400_000, "29 Feb 2000 00:00:00.000"),
            (4_107_542_400_000, "01 Mar 2100 00:00:00.000"),
            (1_795_380_597_123, "22 Nov 2026 20:49:57.123"),
        ];
        for (unix_ms, text) in cases {
            assert_eq!(CalendarTime::new(unix_ms, 0).to_string(), text);
        }
        assert_eq!(
            CalendarTime::new(0, -3600).to_string(),
            "31 Dec 1969 23:00:00.000"
        );
    }

    #[test]
    fn any_time_has_a_calendar_day() {
        for unix_ms in [i64::MIN, i64::MAX] {
            for offset_s in [i32::MIN, i32::MAX] {
                let time = CalendarTime::new(unix_ms, offset_s);
                assert!((1..=12).contains(&time.month) && (1..=31).contains(&time.day));
            }
        }
    }

    #[test]
    fn days_follow_each_other() {
        let mut before = civil_from_days(-200_000);
        for day in -199_999..200_000 {
            let now = civil_from_days(day);
            let same_month = now == (before.0, before.1, before.2 + 1);
            let next_month = now == (before.0, before.1 + 1, 1);
            let next_year = now == (before.0 + 1, 1, 1) && before.1 == 12;
            assert!(
                same_month || ((next_month || next_year) && before.2 >= 28),
                "day {day}"
            );
            before = now;
        }
    }
}
