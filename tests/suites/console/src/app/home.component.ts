import { Component } from '@angular/core';
import { MatAutocompleteModule } from '@angular/material/autocomplete';
import { MatCheckboxModule } from '@angular/material/checkbox';
import { MatChipsModule } from '@angular/material/chips';
import { MatDatepickerModule } from '@angular/material/datepicker';
import { MatDialogModule } from '@angular/material/dialog';
import { MatFormFieldModule } from '@angular/material/form-field';
import { MatInputModule } from '@angular/material/input';
import { MatMenuModule } from '@angular/material/menu';
import { MatPaginatorModule } from '@angular/material/paginator';
import { MatSelectModule } from '@angular/material/select';
import { MatSidenavModule } from '@angular/material/sidenav';
import { MatSortModule } from '@angular/material/sort';
import { MatStepperModule } from '@angular/material/stepper';
import { MatTableModule } from '@angular/material/table';
import { MatTabsModule } from '@angular/material/tabs';
import { MatTooltipModule } from '@angular/material/tooltip';
import { MatTreeModule } from '@angular/material/tree';
import * as echarts from 'echarts';
import { getCountries, parsePhoneNumberFromString } from 'libphonenumber-js/max';
import moment from 'moment';
import 'moment/min/locales';

import { BUILD } from './build';

/** First screen: brings what a large Console has in its main script. */
@Component({
  selector: 'cnsl-home',
  imports: [
    MatAutocompleteModule, MatCheckboxModule, MatChipsModule, MatDatepickerModule, MatDialogModule,
    MatFormFieldModule, MatInputModule, MatMenuModule, MatPaginatorModule, MatSelectModule, MatSidenavModule,
    MatSortModule, MatStepperModule, MatTableModule, MatTabsModule, MatTooltipModule, MatTreeModule,
  ],
  template: `
    <h1 id="home">Home</h1>
    <mat-form-field><mat-label>Phone</mat-label><input matInput [value]="phone"></mat-form-field>
    <mat-tab-group><mat-tab label="One">{{ date }}</mat-tab><mat-tab label="Two">{{ countries }}</mat-tab></mat-tab-group>
    <p>{{ versions }}</p>
  `,
})
export class HomeComponent {
  readonly phone = parsePhoneNumberFromString('+41 44 668 18 00')?.formatInternational() ?? '';
  readonly date = moment().locale('de').format('LLLL');
  readonly countries = getCountries().length;
  readonly versions = `${BUILD} ${echarts.version} ${Object.keys(echarts).length}`;
}
