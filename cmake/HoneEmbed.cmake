# Run as a script (cmake -DOUT=... -DPARTS=... -P): writes a C source that holds files. PARTS is a list of NAME=FILE,
# separated by commas, each becoming `const char *const NAME`, NUL-terminated; without FILE it is the empty string.
if(CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
    string(REPLACE "," ";" parts "${PARTS}")
    set(text "/* Written by cmake/HoneEmbed.cmake. */\n#include \"eval/page.h\"\n")
    foreach(part ${parts})
        string(REGEX MATCH "^([^=]+)=(.*)$" matched "${part}")
        set(name ${CMAKE_MATCH_1})
        set(bytes "")
        if(CMAKE_MATCH_2)
            file(READ "${CMAKE_MATCH_2}" bytes HEX)
            string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
        endif()
        string(APPEND text "static const unsigned char ${name}_bytes[] = {${bytes}0};\n"
            "const char *const ${name} = (const char *)${name}_bytes;\n")
    endforeach()
    file(WRITE "${OUT}" "${text}")
    return()
endif()

# Included: the evaluation's page becomes part of the layer. Chart.js (libjs-chart.js) is taken along where it is
# installed; without it the page has its tables alone.
set(page_dir ${CMAKE_SOURCE_DIR}/src/eval/page)
find_file(HONE_CHART_JS NAMES chart.min.js chart.umd.js PATHS /usr/share/javascript/chart.js NO_DEFAULT_PATH
    NO_CMAKE_FIND_ROOT_PATH)
set(chart_js "")
if(HONE_CHART_JS)
    set(chart_js ${HONE_CHART_JS})
else()
    message(STATUS "Chart.js is not here (libjs-chart.js): pages of `hone eval --html` will have no charts")
endif()
set(page_source ${CMAKE_BINARY_DIR}/generated/page_files.c)
set(page_parts "hone_page_file_evaluation=${page_dir}/evaluation.html,hone_page_file_style=${page_dir}/style.css"
    "hone_page_file_helpers=${page_dir}/helpers.js,hone_page_file_charts=${chart_js}")
string(REPLACE ";" "," page_parts "${page_parts}")
add_custom_command(OUTPUT ${page_source}
    COMMAND ${CMAKE_COMMAND} -DOUT=${page_source} "-DPARTS=${page_parts}" -P ${CMAKE_CURRENT_LIST_FILE}
    DEPENDS ${page_dir}/evaluation.html ${page_dir}/style.css ${page_dir}/helpers.js ${chart_js}
        ${CMAKE_CURRENT_LIST_FILE}
    VERBATIM)
target_sources(hone_eval_objects PRIVATE ${page_source})
