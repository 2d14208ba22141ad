#include "pg/pg.hpp"

#include "hybrid/terms.hpp"

#include <algorithm>

extern "C" {
#include "tsearch/ts_utils.h"
#include "utils/fmgrprotos.h"
}

namespace tandem::hybrid {

namespace {

bool IsSame(const QueryTerm& a, const QueryTerm& b) {
  return a.length == b.length && a.weight == b.weight && a.is_prefix == b.is_prefix &&
         memcmp(a.lexeme, b.lexeme, static_cast<size_t>(a.length)) == 0;
}

void AddTerm(const QueryTerm& term, QueryTerms* found) {
  for (uint32 i = 0; i < found->count; i++) {
    if (IsSame(found->terms[i], term)) return;
  }
  found->terms[found->count++] = term;
}

QueryTerm TermAt(TSQuery query, const QueryItem* item) {
  const QueryOperand& operand = item->qoperand;
  return {GETOPERAND(query) + operand.distance, static_cast<int>(operand.length), operand.weight,
          operand.prefix};
}

void Collect(TSQuery query, const QueryItem* item, QueryTerms* found) {
  check_stack_depth();
  if (item->type == QI_VAL) return AddTerm(TermAt(query, item), found);
  const QueryOperator& node = item->qoperator;
  if (node.oper == OP_NOT) return;
  if (node.oper == OP_OR) found->has_choice = true;
  Collect(query, item + node.left, found);
  Collect(query, item + 1, found);
}

/// As tsvectors sort their lexemes.
int Compare(TSVector document, const WordEntry& entry, const QueryTerm& term, bool prefix) {
  return tsCompareString(const_cast<char*>(term.lexeme), term.length, STRPTR(document) + entry.pos,
                         static_cast<int>(entry.len), prefix);
}

double PositionsOf(TSVector document, const WordEntry* entry) {
  auto* word = const_cast<WordEntry*>(entry);
  return word->haspos ? std::max(1, static_cast<int>(POSDATALEN(document, word))) : 1;
}

double PositionsOfWeights(TSVector document, const WordEntry* entry, uint8 weights) {
  if (weights == 0) return PositionsOf(document, entry);
  auto* word = const_cast<WordEntry*>(entry);
  // A document without positions has no weights, and fulfils a query that asks for some.
  if (!word->haspos) return 1;
  int count = 0;
  for (int i = 0; i < POSDATALEN(document, word); i++) {
    if ((weights & (1U << WEP_GETWEIGHT(POSDATAPTR(document, word)[i]))) != 0) count++;
  }
  return count;
}

void AppendTerm(StringInfo text, const QueryTerm& term) {
  appendStringInfoChar(text, '\'');
  for (int i = 0; i < term.length; i++) {
    const char c = term.lexeme[i];
    if (c == '\'' || c == '\\') appendStringInfoChar(text, c);
    appendStringInfoChar(text, c);
  }
  appendStringInfoChar(text, '\'');
  if (term.is_prefix || term.weight != 0) appendStringInfoChar(text, ':');
  if (term.is_prefix) appendStringInfoChar(text, '*');
  for (int weight = 0; weight < 4; weight++) {
    if ((term.weight & (1U << weight)) != 0) appendStringInfoChar(text, "DCBA"[weight]);
  }
}

void AppendNode(StringInfo text, const QueryTerms& terms, const policy::TermCondition& condition, uint32 at) {
  using Kind = policy::TermCondition::Kind;
  check_stack_depth();
  const policy::TermCondition::Node& node = condition.nodes[at];
  if (node.kind == Kind::kTerm) return AppendTerm(text, terms.terms[node.left]);
  appendStringInfoChar(text, '(');
  AppendNode(text, terms, condition, node.left);
  appendStringInfoChar(text, node.kind == Kind::kAnd ? '&' : '|');
  AppendNode(text, terms, condition, node.right);
  appendStringInfoChar(text, ')');
}

bool IsOperator(const QueryItem* item, int8 oper) {
  return item->type == QI_OPR && item->qoperator.oper == oper;
}

void AppendCondition(StringInfo text, const char* before, const QueryTerms& terms,
                     const policy::TermCondition& condition) {
  appendStringInfoString(text, before);
  AppendNode(text, terms, condition, static_cast<uint32>(condition.nodes.size() - 1));
}

/// As it is.
void AppendItem(StringInfo text, TSQuery query, const QueryItem* item) {
  check_stack_depth();
  if (item->type == QI_VAL) return AppendTerm(text, TermAt(query, item));
  const QueryOperator& node = item->qoperator;
  if (node.oper == OP_NOT) {
    appendStringInfoString(text, "!(");
    AppendItem(text, query, item + 1);
    appendStringInfoChar(text, ')');
    return;
  }
  appendStringInfoChar(text, '(');
  AppendItem(text, query, item + node.left);
  if (node.oper == OP_PHRASE)
    appendStringInfo(text, "<%d>", node.distance);
  else
    appendStringInfoChar(text, node.oper == OP_AND ? '&' : '|');
  AppendItem(text, query, item + 1);
  appendStringInfoChar(text, ')');
}

/// What a chain of ANDs asks for, in order.
List* Conjuncts(const QueryItem* item, List* found) {
  check_stack_depth();
  if (!IsOperator(item, OP_AND)) return lappend(found, const_cast<QueryItem*>(item));
  found = Conjuncts(item + item->qoperator.left, found);
  return Conjuncts(item + 1, found);
}

/// The conjuncts that are exclusions, or those that are not, between operators. Returns whether there were any.
bool AppendConjuncts(StringInfo text, TSQuery query, List* conjuncts, bool exclusions) {
  bool is_first = true;
  ListCell* cell;
  foreach (cell, conjuncts) {
    const auto* item = static_cast<const QueryItem*>(lfirst(cell));
    if (IsOperator(item, OP_NOT) != exclusions) continue;
    if (!is_first) appendStringInfoChar(text, exclusions ? '&' : '|');
    AppendItem(text, query, item);
    is_first = false;
  }
  return !is_first;
}

void AppendAny(StringInfo text, TSQuery query, const QueryItem* item) {
  check_stack_depth();
  appendStringInfoChar(text, '(');
  if (IsOperator(item, OP_OR)) {
    AppendAny(text, query, item + item->qoperator.left);
    appendStringInfoChar(text, '|');
    AppendAny(text, query, item + 1);
  } else {
    List* conjuncts = Conjuncts(item, NIL);
    const int before = text->len;
    if (AppendConjuncts(text, query, conjuncts, false)) appendStringInfoString(text, ")&(");
    if (!AppendConjuncts(text, query, conjuncts, true) && text->len > before) text->len -= 3;
  }
  appendStringInfoChar(text, ')');
}

TSQuery QueryFrom(const char* text) {
  return DatumGetTSQuery(DirectFunctionCall1(tsqueryin, CStringGetDatum(text)));
}

}  // namespace

QueryTerms TermsOf(TSQuery query) {
  QueryTerms found = {};
  if (query->size == 0) return found;
  found.terms = static_cast<QueryTerm*>(palloc(sizeof(QueryTerm) * static_cast<size_t>(query->size)));
  Collect(query, GETQUERY(query), &found);
  return found;
}

double LengthOf(TSVector document) {
  double length = 0;
  for (int i = 0; i < document->size; i++) length += PositionsOf(document, &ARRPTR(document)[i]);
  return length;
}

double OccurrencesOf(TSVector document, const QueryTerm& term) {
  int low = 0;
  int high = document->size;
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (Compare(document, ARRPTR(document)[middle], term, false) > 0)
      low = middle + 1;
    else
      high = middle;
  }
  double count = 0;
  for (int i = low; i < document->size && Compare(document, ARRPTR(document)[i], term, term.is_prefix) == 0;
       i++) {
    count += PositionsOfWeights(document, &ARRPTR(document)[i], term.weight);
    if (!term.is_prefix) break;
  }
  return count;
}

TSQuery QueryOf(const QueryTerm& term) {
  StringInfoData text;
  initStringInfo(&text);
  AppendTerm(&text, term);
  return QueryFrom(text.data);
}

TSQuery QueryWith(TSQuery query, const QueryTerms& terms, const policy::TermCondition& condition,
                  const List* known) {
  if (condition.nodes.empty() && known == NIL) return query;
  StringInfoData text;
  initStringInfo(&text);
  appendStringInfo(&text, "(%s)", DatumGetCString(DirectFunctionCall1(tsqueryout, TSQueryGetDatum(query))));
  if (!condition.nodes.empty()) AppendCondition(&text, "&", terms, condition);
  ListCell* cell;
  foreach (cell, known)
    AppendCondition(&text, "&!", terms, *static_cast<const policy::TermCondition*>(lfirst(cell)));
  return QueryFrom(text.data);
}

TSQuery AnyOf(TSQuery query) {
  if (query->size == 0) return query;
  StringInfoData text;
  initStringInfo(&text);
  AppendAny(&text, query, GETQUERY(query));
  return QueryFrom(text.data);
}

}  // namespace tandem::hybrid
