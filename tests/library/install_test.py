"""install_test.py BUILD CC [FLAGS…]: an installation into an empty folder has everything in its usual place, and works from there: the
example of docs/library.md is compiled by pkg-config and runs, the program finds its packs, man pages render without a warning, and bash
completes commands."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

WANTED = ('bin/aon', 'include/aon/aon.h', 'include/aon/callback.h', 'include/aon/memory.h', 'share/man/man1/aon.1', 'share/man/man1/aon-import.1',
          'share/bash-completion/completions/aon.bash', 'share/zsh/site-functions/_aon', 'share/fish/vendor_completions.d/aon.fish',
          'share/allornone/packs/workforce.lua', 'share/allornone/packs/contacts.lua', 'share/doc/allornone/README.md',
          'share/doc/allornone/docs/guide.md', 'share/doc/allornone/examples/booking.c', 'share/doc/allornone/LICENSE')


def run(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **more)
    assert done.returncode == 0, f'{command}: exit {done.returncode}\n{done.stdout}{done.stderr}'
    return done.stdout + done.stderr


def usual_places(root):
    for wanted in WANTED:
        assert (root / wanted).exists(), f'{wanted} is not installed'
    libraries = list(root.glob('lib*/**/libaon.so*'))
    assert {library.name for library in libraries} >= {'libaon.so', 'libaon.so.0'}, libraries
    assert (libraries[0].parent / 'pkgconfig' / 'libaon.pc').exists(), 'libaon.pc is not installed'
    return libraries[0].parent


def example(root, libraries, cc, flags, folder):
    """The files are not where the prefix says: only in this library's own .pc, the prefix is set right."""
    own = (libraries / 'pkgconfig/libaon.pc').read_text()
    (folder / 'libaon.pc').write_text(re.sub(r'^prefix=.*', f'prefix={root}', own, flags=re.M))
    options = run('pkg-config', '--cflags', '--libs', 'libaon', env=dict(os.environ, PKG_CONFIG_PATH=str(folder))).split()
    program = folder / 'booking'
    run(*cc, root / 'share/doc/allornone/examples/booking.c', '-o', program, *flags, *options)
    environment = dict(os.environ, LD_LIBRARY_PATH=str(libraries))
    assert '"state":"committed"' in run(program, folder / 'data', 'order1', 'A1', env=environment)


def packs(root, folder):
    said = run(root / 'bin/aon', 'pack', 'list', cwd=folder)
    assert 'workforce' in said and 'contacts' in said, said
    said = run(root / 'bin/aon', 'pack', 'check', 'workforce', cwd=folder)
    assert 'workforce' in said, said


def pages(root):
    if not shutil.which('man') or not shutil.which('groff'):
        print('skipped: man pages: man or groff is not there')
        return
    found = sorted((root / 'share/man/man1').glob('*.1'))
    for page in found:
        done = subprocess.run(['man', '--warnings', '-E', 'UTF-8', '-l', '-Tutf8', page], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, MANWIDTH='80', LC_ALL='C.UTF-8', MANPAGER='cat'))
        assert done.returncode == 0 and not done.stderr.strip(), f'{page.name}: {done.stderr}'
        text = re.sub('.\b', '', done.stdout)  # bold is printed by going back
        assert '\nNAME\n' in text and '\nSYNOPSIS\n' in text, page.name
    print(f'{len(found)} man pages')


def completion(root):
    bash = shutil.which('bash')
    if not bash:
        print('skipped: bash completion: there is no bash')
        return
    script = '''
      source "$1"
      function=$(complete -p aon | sed 's/.*-F \\([^ ]*\\).*/\\1/')
      COMP_WORDS=(aon im) COMP_CWORD=1 COMP_LINE='aon im' COMP_POINT=6
      "$function" aon im aon
      printf '%s\\n' "${COMPREPLY[@]}"'''
    said = run(bash, '--norc', '-c', script, 'bash', root / 'share/bash-completion/completions/aon.bash')
    assert [word.strip() for word in said.split()] == ['import'], said


def main():
    build, cc, flags = sys.argv[1], sys.argv[2].split(), sys.argv[3:]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        run('meson', 'install', '-C', build, '--no-rebuild', '--quiet', '--destdir', folder / 'root')
        prefix = next((folder / 'root').glob('**/bin/aon')).parent.parent
        libraries = usual_places(prefix)
        packs(prefix, folder)
        pages(prefix)
        completion(prefix)
        if shutil.which('pkg-config'):
            example(prefix, libraries, cc, flags, folder)
        else:
            print('skipped: the example against an installation: there is no pkg-config')
    return 0


sys.exit(main())
