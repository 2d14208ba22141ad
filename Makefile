# Builds and installs the tandem extension through PGXS.
#
#   make                build the module
#   make install        install module, control files and extension scripts
#   make check-sql      regress and isolation tests on a throw-away server
#   make check-tap      crash, restart and standby tests
#   make check-all      all tests: the same as scripts/check
#   make lint           layer, export, test-list and format checks, warnings as errors, clang-tidy
#   make format         clang-format in place
#   make bench          the benches; see bench/README.md
#
# TANDEM_STOP_POINTS=1 compiles in the named stop points that the race and crash tests use; TANDEM_CXXFLAGS=… come last.
# TANDEM_PRECOMPILED=1 compiles the server's headers once for all files that are allowed to see them: half of the time, but a file
# that forgets one of them goes unnoticed.

MODULE_big = tandem
EXTENSION  = tandem tandem_pgvector
DATA       = $(wildcard extension/*--*.sql)

SOURCES = $(sort $(wildcard src/*.cpp src/*/*.cpp))
OBJS    = $(SOURCES:.cpp=.o)

PG_CPPFLAGS = -I$(srcdir)/src -DPGDLLEXPORT='__attribute__((visibility("default")))'
PG_CXXFLAGS = -std=c++17 -pthread -fvisibility=hidden -fvisibility-inlines-hidden -Wextra \
              -Wno-unused-parameter -Wno-missing-field-initializers -Wno-register -MMD -MP
SHLIB_LINK += -lstdc++ -pthread -Wl,--exclude-libs,ALL -Wl,--version-script=$(srcdir)/src/exports.map

ifdef TANDEM_STOP_POINTS
PG_CPPFLAGS += -DTANDEM_STOP_POINTS
endif

REGRESS        = $(patsubst sql/%.sql,%,$(sort $(wildcard sql/*.sql)))
REGRESS_OPTS   = --inputdir=$(srcdir) --outputdir=$(srcdir)/build/regress
ISOLATION      = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --outputdir=$(srcdir)/build/isolation --load-extension=tandem
TAP_TESTS      = 1
PROVE_TESTS    = $(sort $(wildcard test/tap/*.pl))

EXTRA_CLEAN = $(OBJS:.o=.d) build tmp_check

# JIT inlining gains nothing here (the kernels are chosen at run time and call no server code) and its
# bitcode would make clang a build dependency and double the build time.
override with_llvm = no

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# g++ gives internal-linkage objects in inline functions a "unique" binding, which defeats dlclose and
# leaks symbols past -fvisibility=hidden; clang has no such binding and no such flag.
ifneq ($(shell $(CXX) --version 2>/dev/null | grep -ci clang),0)
else
override CXXFLAGS += -fno-gnu-unique
endif

# C-only warnings that the server's own flags contain and a C++ compiler refuses or ignores.
override CXXFLAGS := $(filter-out -Wdeclaration-after-statement -Wmissing-prototypes,$(CXXFLAGS)) $(TANDEM_CXXFLAGS)

-include $(OBJS:.o=.d)

ifdef TANDEM_PRECOMPILED
SERVER_HEADERS = build/server_headers.hpp
SERVER_OBJS    = $(filter-out $(foreach room,base vec policy graph,src/$(room)/%),$(OBJS))
$(SERVER_OBJS): $(SERVER_HEADERS).gch
$(SERVER_OBJS): private override CXXFLAGS += -include $(SERVER_HEADERS)
$(SERVER_HEADERS).gch: $(SERVER_HEADERS)
	$(CXX) $(CXXFLAGS) $(CPPFLAGS) -x c++-header -c $< -o $@ -MF $(SERVER_HEADERS).d
$(SERVER_HEADERS):
	@mkdir -p $(@D)
	echo '#include "pg/compat.hpp"' >$@
-include $(SERVER_HEADERS).d
endif

# The tests run on a private copy of the server with a build of their own, so nothing here needs `make install`.
.PHONY: check-sql check-tap check-all lint format bench
check-sql:
	$(srcdir)/scripts/check --sql --isolation
check-tap:
	$(srcdir)/scripts/check --tap
check-all:
	$(srcdir)/scripts/check
lint:
	$(srcdir)/scripts/check --lint --tidy
format:
	$(srcdir)/tools/format
bench:
	$(srcdir)/bench/run
