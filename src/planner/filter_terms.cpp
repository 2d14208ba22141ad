// A plan's nodes are its terms: what each of them says depends on, and may be kept, is the business of am/term_scan.hpp.

#include "pg/compat.hpp"

#include "planner/filter_terms.hpp"

#include "am/term_scan.hpp"
#include "pg/guard.hpp"
#include "pg/own.hpp"
#include "pg/stop_point.hpp"
#include "planner/btree_tids.hpp"

extern "C" {
#include "access/gin.h"
#include "executor/executor.h"
#include "executor/nodeHash.h"
#include "tsearch/ts_type.h"
#include "utils/fmgroids.h"
}

namespace tandem::planner {

namespace {

// ---- What an answer depends on ----

/// Keys of arrays change from one element to the next while the scan runs.
bool MayKeep(const BitmapIndexScanState& scan) {
  return scan.biss_NumArrayKeys == 0 &&
         am::KeysSayAll(scan.biss_RelationDesc, scan.biss_ScanKeys, scan.biss_NumScanKeys);
}

// ---- Terms ----

/// What terms are made for.
struct Maker {
  MemoryContext context;
  TextTerms text;
  TermCounts* counts;
};

/// What evaluates a term.
struct Source {
  PlanState* plan;
  Maker maker;
  bool is_word;
  Datum word;  ///< in place of the value of the plan's only scan key
};

/// Of everything that fulfils the condition: gin_fuzzy_search_limit would make a sample of it, and everybody's if it is kept (H10).
TIDBitmap* RunWhole(PlanState* plan) {
  TIDBitmap* volatile bitmap = nullptr;
  const int limit = GinFuzzySearchLimit;
  PG_TRY();
  {
    GinFuzzySearchLimit = 0;
    bitmap = reinterpret_cast<TIDBitmap*>(MultiExecProcNode(plan));
  }
  PG_FINALLY();
  { GinFuzzySearchLimit = limit; }
  PG_END_TRY();
  return bitmap;
}

/// A scan of text, for one word of its query. The plan is left as it was.
TIDBitmap* RunForWord(PlanState* plan, Datum word) {
  auto* scan = castNode(BitmapIndexScanState, plan);
  const Datum query = scan->biss_ScanKeys[0].sk_argument;
  scan->biss_ScanKeys[0].sk_argument = word;
  index_rescan(scan->biss_ScanDesc, scan->biss_ScanKeys, scan->biss_NumScanKeys, nullptr, 0);
  TIDBitmap* bitmap = RunWhole(plan);
  scan->biss_ScanKeys[0].sk_argument = query;
  return bitmap;
}

/// By a bitmap of the server's.
void ReadBitmap(const Source& source, base::TidSet* set) {
  // Called in the middle of a scan, in whatever context that is: what the plan leaves behind lives as long as its own state.
  const MemoryContext old_context = MemoryContextSwitchTo(source.plan->state->es_query_cxt);
  TIDBitmap* bitmap = source.is_word ? RunForWord(source.plan, source.word) : RunWhole(source.plan);
  MemoryContextSwitchTo(old_context);
  if (bitmap == nullptr || !IsA(bitmap, TIDBitmap)) elog(ERROR, "unrecognized result from subplan");
  am::AddBitmap(bitmap, set);
  tbm_free(bitmap);
}

const base::TidSet* Evaluate(void* arg) {
  const auto* source = static_cast<Source*>(arg);
  auto* set = pg::Own<base::TidSet>(source->maker.context);
  if (!MayCollectTids(source->plan) || !CollectTids(source->plan, set)) ReadBitmap(*source, set);
  pg::Guard([set] { set->Freeze(); });
  source->maker.counts->evaluated++;
  source->maker.counts->blocks += set->whole_blocks();
  pg::StopPoint("filter-made");
  return set;
}

struct PlanSpan {
  PlanState** plans;
  int count;
};

PlanSpan OperandsOf(PlanState* plan) {
  if (IsA(plan, BitmapAndState)) {
    auto* all = castNode(BitmapAndState, plan);
    return {all->bitmapplans, all->nplans};
  }
  if (IsA(plan, BitmapOrState)) {
    auto* any = castNode(BitmapOrState, plan);
    return {any->bitmapplans, any->nplans};
  }
  return {nullptr, 0};
}

/// Has the keys evaluated whose values are not constant, as the scan itself does when it begins.
void PrepareKeys(PlanState* plan) {
  if (plan->chgParam != nullptr) ExecReScan(plan);
  if (IsA(plan, BitmapIndexScanState)) {
    const auto* scan = castNode(BitmapIndexScanState, plan);
    if (scan->biss_NumRuntimeKeys > 0 && !scan->biss_RuntimeKeysReady) ExecReScan(plan);
  }
  const PlanSpan operands = OperandsOf(plan);
  for (int i = 0; i < operands.count; i++) PrepareKeys(operands.plans[i]);
}

/// By the server's own plan nodes, whatever they are of.
bool MayKeep(PlanState* plan) {
  if (IsA(plan, BitmapIndexScanState)) return MayKeep(*castNode(BitmapIndexScanState, plan));
  const PlanSpan operands = OperandsOf(plan);
  for (int i = 0; i < operands.count; i++)
    if (!MayKeep(operands.plans[i])) return false;
  return operands.count > 0;
}

am::Filter* MakeTerm(PlanState* plan, const Maker& maker, const Datum* word) {
  auto* filter = static_cast<am::Filter*>(palloc0(sizeof(am::Filter)));
  auto* source = static_cast<Source*>(palloc(sizeof(Source)));
  *source = {plan, maker, word != nullptr, word != nullptr ? *word : 0};
  filter->op = am::FilterOp::kTerm;
  filter->term.evaluate = Evaluate;
  filter->term.arg = source;
  return filter;
}

am::Filter* MakeKeptTerm(PlanState* plan, const Maker& maker, const Datum* word) {
  am::Filter* term = MakeTerm(plan, maker, word);
  const auto* scan = castNode(BitmapIndexScanState, plan);
  term->term.key =
      am::WriteTermKey(scan->biss_RelationDesc, scan->biss_ScanKeys, scan->biss_NumScanKeys, word);
  return term;
}

const am::Filter* MakeOperator(am::FilterOp op, base::Span<const am::Filter* const> operands) {
  auto* filter = static_cast<am::Filter*>(palloc0(sizeof(am::Filter)));
  filter->op = op;
  filter->operands = operands;
  return filter;
}

// ---- Words ----
//
// What fulfils a text query has its words: all of what AND and phrases join, one side of an OR. Where in a document words are, and
// with which weights, is left to the condition; so is what must not be there, if words do not say all of it.

/// Beyond it, operators among them, a query is one term.
constexpr int kMostWords = 1000;

/// True if what the query's words admit, by itself and joined, will fit the memory that hash tables may take. A word has rows of a
/// table and what segments know of them: frequent words take a few bits for each row there is.
bool WordsFit(const BitmapIndexScanState& scan, const TSQueryData& query) {
  constexpr double kBytesPerRow = 0.25;
  const double rows = Max(static_cast<double>(scan.biss_RelationDesc->rd_rel->reltuples), 0.0);
  return query.size * rows * kBytesPerRow <= static_cast<double>(get_hash_memory_limit());
}

bool IsTextScan(const BitmapIndexScanState& scan) {
  return scan.biss_RelationDesc->rd_amhandler == F_GINHANDLER && scan.biss_NumScanKeys == 1 &&
         scan.biss_ScanKeys[0].sk_func.fn_oid == F_TS_MATCH_VQ;
}

/// What is made of a query.
struct WordMaker {
  PlanState* plan;
  Maker maker;
  TSQuery query;
  List* terms;  ///< am::Filter of words met before
};

/// The query of one operand alone, without its weights.
TSQuery QueryOfWord(TSQuery query, const QueryOperand& operand) {
  const Size size = COMPUTESIZE(1, operand.length + 1);
  auto* word = static_cast<TSQuery>(palloc0(size));
  SET_VARSIZE(word, size);
  word->size = 1;
  QueryOperand* only = &GETQUERY(word)->qoperand;
  *only = operand;
  only->weight = 0;
  only->distance = 0;
  std::memcpy(GETOPERAND(word), GETOPERAND(query) + operand.distance, operand.length);
  return word;
}

bool IsSameKey(base::Span<const char> a, base::Span<const char> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

const am::Filter* MakeWord(WordMaker* words, const QueryOperand& operand) {
  const Datum word = TSQueryGetDatum(QueryOfWord(words->query, operand));
  am::Filter* term = MakeKeptTerm(words->plan, words->maker, &word);
  ListCell* cell;
  foreach (cell, words->terms) {
    const auto* known = static_cast<const am::Filter*>(lfirst(cell));
    if (IsSameKey(known->term.key, term->term.key)) return known;
  }
  words->terms = lappend(words->terms, term);
  return term;
}

/// What of a query is a filter.
struct Words {
  const am::Filter* filter;  ///< admits all rows that fulfil the query; nullptr: not known
  bool is_all;               ///< and no others
  bool is_excluded;          ///< it is of what the query excludes instead
};

const am::Filter* Join(am::FilterOp op, const am::Filter* left, const am::Filter* right) {
  auto** operands = static_cast<const am::Filter**>(palloc(2 * sizeof(const am::Filter*)));
  operands[0] = left;
  operands[1] = right;
  return MakeOperator(op, {operands, 2});
}

Words Both(const Words& one, const Words& other) {
  const bool has_one = one.filter != nullptr && !one.is_excluded;
  const bool has_other = other.filter != nullptr && !other.is_excluded;
  if (!has_one && !has_other) return {nullptr, false, false};
  if (has_one && has_other)
    return {Join(am::FilterOp::kAnd, one.filter, other.filter), one.is_all && other.is_all, false};
  const Words& wanted = has_one ? one : other;
  const Words& excluded = has_one ? other : one;
  if (excluded.filter == nullptr || !excluded.is_all) return {wanted.filter, false, false};
  return {Join(am::FilterOp::kAndNot, wanted.filter, excluded.filter), wanted.is_all, false};
}

Words Either(const Words& one, const Words& other) {
  const bool is_said =
      one.filter != nullptr && other.filter != nullptr && !one.is_excluded && !other.is_excluded;
  if (!is_said) return {nullptr, false, false};
  return {Join(am::FilterOp::kOr, one.filter, other.filter), one.is_all && other.is_all, false};
}

Words MakeWords(WordMaker* maker, const QueryItem* item) {
  check_stack_depth();
  if (item->type == QI_VAL) return {MakeWord(maker, item->qoperand), item->qoperand.weight == 0, false};
  const QueryOperator& node = item->qoperator;
  Words right = MakeWords(maker, item + 1);
  if (node.oper == OP_NOT) return {right.filter, right.is_all, !right.is_excluded};
  const Words left = MakeWords(maker, item + node.left);
  if (node.oper == OP_OR) return Either(left, right);
  if (node.oper == OP_AND) return Both(left, right);
  // A phrase. What is excluded in one may be there, only not in that place.
  const bool excludes = left.is_excluded || right.is_excluded;
  Words words = excludes ? Words{nullptr, false, false} : Both(left, right);
  words.is_all = false;
  return words;
}

/// nullptr: it is no such query, or too large.
const am::Filter* MakeTextScan(PlanState* plan, const Maker& maker) {
  const auto* scan = castNode(BitmapIndexScanState, plan);
  const bool is_null = (scan->biss_ScanKeys[0].sk_flags & SK_ISNULL) != 0;
  if (maker.text == TextTerms::kWhole || is_null) return nullptr;
  TSQuery query = DatumGetTSQuery(scan->biss_ScanKeys[0].sk_argument);
  if (query->size == 0 || query->size > kMostWords || !WordsFit(*scan, *query)) return nullptr;
  WordMaker word_maker = {plan, maker, query, NIL};
  const Words words = MakeWords(&word_maker, GETQUERY(query));
  if (words.filter == nullptr || words.is_excluded) return nullptr;
  if (!words.is_all) maker.counts->has_more = true;
  return words.filter;
}

// ---- Plans ----

const am::Filter* MakeScan(PlanState* plan, const Maker& maker) {
  const bool is_text = IsTextScan(*castNode(BitmapIndexScanState, plan));
  const am::Filter* words = is_text ? MakeTextScan(plan, maker) : nullptr;
  if (words != nullptr) return words;
  if (is_text) maker.counts->has_more = true;
  return MakeKeptTerm(plan, maker, nullptr);
}

const am::Filter* MakeNode(PlanState* plan, const Maker& maker) {
  const PlanSpan operands = OperandsOf(plan);
  if (operands.count == 0) return MakeScan(plan, maker);
  const auto count = static_cast<std::size_t>(operands.count);
  auto** nodes = static_cast<const am::Filter**>(palloc(count * sizeof(const am::Filter*)));
  for (int i = 0; i < operands.count; i++) nodes[i] = MakeNode(operands.plans[i], maker);
  return MakeOperator(IsA(plan, BitmapAndState) ? am::FilterOp::kAnd : am::FilterOp::kOr, {nodes, count});
}

}  // namespace

/// Those that are `@@` themselves: an index may serve another function by a match that admits more.
static List* MatchesOf(List* conditions) {
  List* matches = NIL;
  ListCell* cell;
  foreach (cell, conditions) {
    const auto* condition = static_cast<const Node*>(lfirst(cell));
    if (!IsA(condition, OpExpr)) continue;
    const Oid function = reinterpret_cast<const OpExpr*>(condition)->opfuncid;
    if (function == F_TS_MATCH_VQ || function == F_TS_MATCH_QV) matches = lappend(matches, lfirst(cell));
  }
  return matches;
}

List* TextConditions(PlanState* plan) {
  List* conditions = NIL;
  if (IsA(plan, BitmapIndexScanState)) {
    const auto* scan = castNode(BitmapIndexScanState, plan);
    if (scan->biss_RelationDesc == nullptr || !IsTextScan(*scan)) return NIL;
    return MatchesOf(castNode(BitmapIndexScan, plan->plan)->indexqualorig);
  }
  if (!IsA(plan, BitmapAndState)) return NIL;
  const PlanSpan operands = OperandsOf(plan);
  for (int i = 0; i < operands.count; i++)
    conditions = list_concat(conditions, TextConditions(operands.plans[i]));
  return conditions;
}

const am::Filter* MakeFilter(PlanState* plan, TextTerms text, MemoryContext context, TermCounts* counts) {
  PrepareKeys(plan);
  const MemoryContext old_context = MemoryContextSwitchTo(context);
  const Maker maker = {context, text, counts};
  const bool may_keep = MayKeep(plan);
  counts->has_more = !may_keep;
  const am::Filter* filter = may_keep ? MakeNode(plan, maker) : MakeTerm(plan, maker, nullptr);
  MemoryContextSwitchTo(old_context);
  return filter;
}

}  // namespace tandem::planner
