#pragma once
// Whose operator rows are ordered by: ours, or another extension's on types of the same form.

#include "pg/pg.hpp"

#include "base/span.hpp"
#include "vec/element.hpp"
#include "vec/row_distance.hpp"

extern "C" {
#include "access/skey.h"
#include "fmgr.h"
}

namespace tandem::am {

/// The functions of our own operators, which compute distances as searches do. Called once, when the module is loaded; what it
/// names must stay.
void RegisterOwnOperators(base::Span<const PGFunction> functions);

/// The operator of an ORDER BY key whose argument, detoasted, is `query`; none if it is one of ours. Memory, and what it needs
/// memory for later, comes from the current context; that, the key and the query must outlive it.
[[nodiscard]] vec::ForeignOperator ForeignOperatorOf(ScanKey key, const void* query, vec::Element element,
                                                     uint32 dimensions);

}  // namespace tandem::am
