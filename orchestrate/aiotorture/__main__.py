from aiotorture.cli import main

raise SystemExit(main())
