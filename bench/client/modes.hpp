#pragma once
// The client's three modes; each reads its options, drives the server and prints one JSON line.

#include <set>
#include <string>

#include "client/connection.hpp"
#include "common/options.hpp"

namespace tandem::bench {

extern const std::set<std::string> kQueryOptions;
extern const std::set<std::string> kInsertOptions;
extern const std::set<std::string> kCopyOptions;

void RunQueries(const Options& options);
void RunInserts(const Options& options);
void RunCopy(const Options& options);

/// Runs every SQL text given for a repeatable hook option ("setup", "finish").
void RunHooks(Connection& connection, const Options& options, const std::string& hook);

}  // namespace tandem::bench
