import { sysContract } from '../../test/support/sys-contract.ts';
import { ptyContract } from '../../test/support/sys-pty-contract.ts';
import { streamContract } from '../../test/support/sys-stream-contract.ts';
import { FakeSys } from './fake.ts';

function makeWorld() {
  const sys = new FakeSys();
  let paths = 0;
  return { sys, openFds: () => sys.openFds, path: () => `/fake/${paths++}` };
}

sysContract('fake', makeWorld);
streamContract('fake', makeWorld);
ptyContract('fake', makeWorld);
