# Compiler flags: the build type, the language, warnings, sanitizers.
get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT multi_config AND NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O3 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g")
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)

# Nothing here may change what arithmetic means: no -ffast-math, no -march=native.
add_compile_options(
    -std=gnu17 -fno-math-errno -fno-trapping-math -ffp-contract=off
    -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla)
add_compile_definitions(_GNU_SOURCE=1 HONE_VERSION="${PROJECT_VERSION}")
if(HONE_WERROR)
    add_compile_options(-Werror)
endif()

if(HONE_SANITIZE STREQUAL "asan")
    set(sanitizers address,undefined)
elseif(HONE_SANITIZE STREQUAL "ubsan")
    set(sanitizers undefined)
elseif(HONE_SANITIZE STREQUAL "tsan")
    set(sanitizers thread)
elseif(HONE_SANITIZE)
    message(FATAL_ERROR "HONE_SANITIZE=${HONE_SANITIZE}: expected asan, ubsan or tsan")
endif()
if(HONE_SANITIZE)
    add_compile_options(-fsanitize=${sanitizers} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${sanitizers})
    string(REPLACE "-O3" "-O1" CMAKE_C_FLAGS_RELEASE "${CMAKE_C_FLAGS_RELEASE}")
endif()
