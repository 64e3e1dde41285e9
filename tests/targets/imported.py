"""What moments.py imports: its stack is looked at while this runs."""
import threading

import moments


class Body:
    moments.tell(threading.get_ident())
    moments.wait()
