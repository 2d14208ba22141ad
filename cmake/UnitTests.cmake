# One test program per room, from test/unit/<room>/*_test.cpp: for the core, and for the headers of shmem/ that include no
# server header, because threads are to attack them.

include(GoogleTest)

if(CMAKE_CROSSCOMPILING)
  # Debian packages GoogleTest's library for the build machine only, its source for all.
  set(INSTALL_GTEST OFF)
  set(BUILD_GMOCK OFF)
  add_subdirectory(/usr/src/googletest ${PROJECT_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
  if(NOT TARGET GTest::gtest_main)
    add_library(GTest::gtest_main ALIAS gtest_main)
  endif()
else()
  find_package(GTest REQUIRED)
endif()

# A property test takes seconds at most, and a race goes on until it was one, for 400 s at the most; ThreadSanitizer on a busy machine slows
# tests twenty-fold.
set(test_timeout_seconds 500)
if(TANDEM_SANITIZE OR CMAKE_CROSSCOMPILING)
  set(test_timeout_seconds 600)
endif()

foreach(room IN LISTS TANDEM_TEST_ROOMS)
  file(GLOB room_tests CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/test/unit/${room}/*_test.cpp)
  if(room_tests)
    add_executable(unit_${room} ${room_tests})
    target_include_directories(unit_${room} PRIVATE ${PROJECT_SOURCE_DIR}/test)
    target_include_directories(unit_${room} SYSTEM PRIVATE ${hnswlib_include})  # the reference of graph_recall_test
    target_link_libraries(unit_${room} PRIVATE tandem_core tandem_flags GTest::gtest_main)
    # Every test includes it, and most take less to compile than it to read: read once.
    if(unit_first)
      target_precompile_headers(unit_${room} REUSE_FROM ${unit_first})
    else()
      target_precompile_headers(unit_${room} PRIVATE <gtest/gtest.h>)
      set(unit_first unit_${room})
    endif()
    gtest_discover_tests(unit_${room} TEST_PREFIX ${room}. DISCOVERY_TIMEOUT 60
                         PROPERTIES TIMEOUT ${test_timeout_seconds})
  endif()
endforeach()

# GCC takes a function that only prefetches for one without effect, and deletes its calls where it does not inline them: half of
# a search's speed, and no test of results would notice. So the instructions are counted: at least two for each of the five places.
if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64" AND CMAKE_OBJDUMP)
  add_library(prefetch_object OBJECT ${PROJECT_SOURCE_DIR}/test/unit/graph/prefetch_object.cpp)
  target_link_libraries(prefetch_object PRIVATE tandem_core tandem_flags)
  add_test(NAME graph.prefetch_instructions
           COMMAND sh -c "n=$(\"$0\" -d \"$1\" | grep -c 'prefetcht[01]'); echo \"$n prefetch instructions\"; [ $n -ge 10 ]"
                   ${CMAKE_OBJDUMP} $<TARGET_OBJECTS:prefetch_object>)
endif()
