//! What a parsed query means to each report: words become choices, or an error that lists the allowed ones.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{AttributionRule, BreakdownQuery, Filter, HotspotQuery, Named, ReportError};
use crate::settings::{ReportQuery, Selector};

/// The breakdown a query asks for.
pub fn breakdown_query(query: &ReportQuery) -> Result<BreakdownQuery, ReportError> {
    Ok(BreakdownQuery { filter: filter(query)?, sort: word(query.sort.as_deref())?, limit: Some(query.limit) })
}

/// The hotspots a query asks for.
pub fn hotspot_query(query: &ReportQuery) -> Result<HotspotQuery, ReportError> {
    Ok(HotspotQuery {
        filter: filter(query)?,
        by: word(query.by.as_deref())?,
        inclusive: query.inclusive,
        rule: AttributionRule { native: query.native, kernel: query.kernel, libc: query.libc },
        sort: word(query.sort.as_deref())?,
        limit: Some(query.limit),
        columns: word(query.columns.as_deref())?,
    })
}

/// The threads, states and files a query asks for.
pub fn filter(query: &ReportQuery) -> Result<Filter, ReportError> {
    Ok(Filter {
        pids: query.pid.map(|pid| [pid].into()),
        comm: query.selectors.iter().find_map(named),
        thread: query.thread.clone(),
        states: query.state.as_deref().map(str::parse).transpose()?,
        path: query.path.as_deref().map(str::parse).transpose()?,
        min_percent: query.min_percent,
        show_idle: query.show_idle,
    })
}

/// What a name means without a look at the processes alive now.
fn named(selector: &Selector) -> Option<Named> {
    match selector {
        Selector::Comm(comm) => Some(Named { comm: comm.clone(), pids: BTreeSet::new() }),
        _ => None,
    }
}

/// The choice a word stands for; the report's own if there is none.
fn word<T: FromStr<Err = ReportError> + Default>(text: Option<&str>) -> Result<T, ReportError> {
    text.map_or_else(|| Ok(T::default()), str::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{BreakdownSort, HotspotSort, RowKind};
    use crate::settings::parameter::parameter;

    fn query(field: impl FnOnce(&mut ReportQuery)) -> ReportQuery {
        let mut query = ReportQuery::default();
        field(&mut query);
        query
    }

    #[test]
    fn every_documented_word_of_a_closed_list_is_understood() {
        for by in parameter("by").unwrap().values {
            hotspot_query(&query(|query| query.by = Some((*by).to_owned()))).unwrap();
        }
        for columns in parameter("columns").unwrap().values {
            hotspot_query(&query(|query| query.columns = Some((*columns).to_owned()))).unwrap();
        }
        for sort in parameter("sort").unwrap().values {
            let query = query(|query| query.sort = Some((*sort).to_owned()));
            assert!(hotspot_query(&query).is_ok() || breakdown_query(&query).is_ok(), "{sort}");
        }
    }

    #[test]
    fn a_word_reaches_the_choice_it_names() {
        let line = hotspot_query(&query(|query| query.by = Some("line".to_owned()))).unwrap();
        assert_eq!((line.by, line.sort), (RowKind::Line, HotspotSort::Total));
        let runq = breakdown_query(&query(|query| query.sort = Some("runq".to_owned()))).unwrap();
        assert_eq!(runq.sort, BreakdownSort::Runq);
        let waits = filter(&query(|query| query.state = Some("disk".to_owned()))).unwrap();
        assert!(waits.states.is_some() && waits.pids.is_none());
    }

    #[test]
    fn an_unknown_word_lists_the_allowed_ones() {
        let error = hotspot_query(&query(|query| query.by = Some("files".to_owned()))).unwrap_err();
        assert!(error.to_string().contains("function, line, file, thread, process or wait"), "{error}");
    }
}
