# The program and the small tools.
pkg_check_modules(POPT REQUIRED IMPORTED_TARGET popt)
file(GLOB cli CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/cli/*.c)
if(cli AND TARGET libhone_lab)
    add_executable(hone ${cli})
    target_include_directories(hone PRIVATE ${CMAKE_SOURCE_DIR}/cli)
    target_link_libraries(hone PRIVATE libhone_lab PkgConfig::POPT PkgConfig::JANSSON)
endif()

add_executable(wordnet-jsonl ${CMAKE_SOURCE_DIR}/tools/wordnet-jsonl.c)
target_link_libraries(wordnet-jsonl PRIVATE hone_base)
set_target_properties(wordnet-jsonl PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tools)
