"""names.py LIBRARY INCLUDE CC [FLAGS…]: the shared library shows exactly the functions and objects that the installed headers declare, and
each header compiles alone, as C11 and as C++ (skipped by name where there is no C++ compiler)."""
import pathlib
import re
import shutil
import subprocess
import sys


def exported(library):
    lines = subprocess.run(['nm', '-D', '--defined-only', library], capture_output=True, text=True, check=True).stdout.splitlines()
    names = {line.split()[-1].split('@')[0] for line in lines if line.split()[-2] in 'TDBRV'}
    return {name for name in names if not name.startswith(('__', '_init', '_fini', 'LIBAON'))}


def declared(cc, include, headers, flags):
    """Names of what is declared and not defined in the headers, by what the preprocessor leaves of them."""
    source = ''.join(f'#include "aon/{header.name}"\n' for header in headers)
    text = subprocess.run([*cc, '-E', f'-I{include}', *flags, '-x', 'c', '-'], input=source, capture_output=True, text=True, check=True).stdout
    own, ours = [], False
    for line in text.splitlines():
        mark = re.match(r'# \d+ "([^"]*)"', line)
        if mark:
            ours = '/aon/' in mark[1]
        elif ours:
            own.append(line)
    text = re.sub(r'\bstatic inline\b[^;{]*\{.*?\}', '', '\n'.join(own), flags=re.S)
    while re.search(r'\{[^{}]*\}', text):
        text = re.sub(r'\{[^{}]*\}', '', text)
    text = re.sub(r'typedef[^;]*;', '', text)
    return set(re.findall(r'\b(aon_\w+)\(', text)) | set(re.findall(r'extern const \w+ (aon_\w+);', text))


def compiles(command, include, flags, header, language):
    said = subprocess.run([*command, '-fsyntax-only', '-Wall', '-Wextra', '-Werror', f'-I{include}', *flags, *language, '-'],
                          input=f'#include "aon/{header.name}"\nint one_definition;\n', capture_output=True, text=True)
    if said.returncode:
        print(f'{header.name} does not compile alone ({" ".join(language)}):\n{said.stderr}')
    return said.returncode == 0


def main():
    library, include, cc, flags = sys.argv[1], sys.argv[2], sys.argv[3].split(), sys.argv[4:]
    headers = sorted(pathlib.Path(include, 'aon').glob('*.h'))
    shown, promised = exported(library), declared(cc, include, headers, flags)
    good = bool(headers)
    for name in sorted(promised - shown):
        print(f'{name} is declared in an installed header and not shown by the library')
        good = False
    for name in sorted(shown - promised):
        print(f'{name} is shown by the library and declared in no installed header')
        good = False
    for header in headers:
        good &= compiles(cc, include, flags, header, ['-x', 'c', '-std=c11'])
    cxx = shutil.which('g++') or shutil.which('clang++')
    if not cxx:
        print('skipped: headers as C++: there is no C++ compiler')
    for header in headers if cxx else []:
        for standard in ('c++11', 'c++20'):
            good &= compiles([cxx], include, flags, header, ['-x', 'c++', f'-std={standard}'])
    print(f'{len(promised)} names, {len(headers)} headers')
    return 0 if good and promised else 1


sys.exit(main())
