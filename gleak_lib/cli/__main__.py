from gleak_lib.cli import main

raise SystemExit(main())
